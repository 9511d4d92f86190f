# Every target does its own set-up: a virtual environment in .venv, then what the target needs.
# Wanted: GNU make and Python >= 3.11 with venv. Another interpreter: make test PYTHON=python3.13

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
NODE   := tests/interop/node_modules/.package-lock.json
PEERS  := benchmarks/peers
PEERED := $(PEERS)/.venv/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-full check bench bench-smoke bench-report bench-peers clean

help:  ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP)  ## see the promises kept on this machine, in under 30 seconds
	$(BIN)/toril demo

test: $(STAMP) $(NODE)  ## run the tests (minutes)
	$(BIN)/pytest -n 2 -m "not slow" tests/unit tests/redis
	$(BIN)/pytest -m "not slow" tests/process tests/hostile tests/interop tests/invariants tests/end_to_end tests/chaos

test-full: $(STAMP) $(NODE)  ## run the tests and the long suites too
	$(BIN)/pytest -n 2 tests/unit tests/redis
	$(BIN)/pytest tests/process tests/hostile tests/interop tests/invariants tests/end_to_end tests/chaos

check: $(STAMP)  ## format, lint, types and unit tests, in under 30 seconds
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q -m "not slow" tests/unit

bench: $(STAMP) $(PEERED)  ## run every benchmark at its full length, beside the peers
	@set -e; for file in benchmarks/bench_*.py; do \
	    name=$${file#benchmarks/bench_}; echo "== $$file"; \
	    $(BIN)/python "$$file" --json "benchmarks/results/$${name%.py}.json"; done

bench-report: $(PEERED)  ## draw chart and tables of what was measured last
	$(PEERS)/.venv/bin/python -m benchmarks.chart
	$(PEERS)/.venv/bin/python -m benchmarks.tables

bench-smoke: $(STAMP)  ## run every benchmark briefly, so that none rots
	@set -e; for file in benchmarks/bench_*.py; do \
	    echo "== $$file"; $(BIN)/python "$$file" --smoke; done

bench-peers: $(PEERED)  ## install what toril is measured against, at pinned versions

clean:  ## remove the virtual environments, the Node packages and every cache
	rm -rf $(VENV) tests/interop/node_modules build dist *.egg-info
	rm -rf $(PEERS)/.venv $(PEERS)/node_modules
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ensurepip is what Debian splits off from venv; without it the environment would have no pip.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "make: $(PYTHON) is missing or older than 3.11; name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "make: $(PYTHON) has no venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# Real BullMQ. Without Node, or without a way to the registry, the interop tests skip and say why.
$(NODE): tests/interop/package-lock.json
	@if command -v npm >/dev/null; then \
	    (cd tests/interop && npm ci --loglevel=error) && touch $@ || \
	    echo "make: npm ci failed in tests/interop; the interop tests will be skipped" >&2; fi

# The peers run on the interpreter that toril runs on.
$(PEERED): $(STAMP) $(PEERS)/requirements.txt $(PEERS)/package-lock.json
	$(PEERS)/install $(abspath $(BIN))/python
	@touch $@
