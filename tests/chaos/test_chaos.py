"""Everything at once: mixed jobs, random harm to every part, and not one promise broken.

A run is made of its seed, which is printed. `TORIL_CHAOS_SEED=n` repeats it (the choices, not the
moments: processes run as they run). A seed that ever failed is kept in `KEPT`.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.chaos.promises import PROMISES
from tests.chaos.run import Plan, Run

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

SHORT = {"jobs": 600, "per_s": 18.0}
FULL = {"jobs": 5000, "per_s": 14.0, "drain_s": 180.0}

KEPT = {5: "a daemon of a job outlived a supervisor that was killed, with the zygote tied to it"}
"""Seed → what its short run found, before it was mended."""


CI_SEED = 101
"""What continuous integration runs: it judges a change, and not the luck of a seed."""


def chosen_seed() -> int:
    """From the environment, else a new one; always the same in continuous integration."""
    if given := os.environ.get("TORIL_CHAOS_SEED"):
        return int(given)
    return CI_SEED if os.environ.get("CI") else secrets.randbelow(1_000_000)


def prove(
    plan: Plan,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    promises: Sequence[Callable[[sqlite3.Connection], list[tuple[Any, ...]]]] = PROMISES,
) -> Run:
    """Carry the plan out; what is found is told promise by promise."""
    (home / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(home / "tmp"))
    monkeypatch.setenv("CHAOS_LEDGER", str(home / "ledger"))
    say(f"TORIL_CHAOS_SEED={plan.seed}: {plan.jobs} jobs")
    began_s = time.monotonic()
    run = Run(plan, home)
    run.carry_out()
    (faults,) = run.ledger.execute("SELECT count(*) FROM fault").fetchone()
    say(f"{faults} faults, {time.monotonic() - began_s:.1f} s")
    broken = {ask.__name__: found[:10] for ask in promises if (found := ask(run.ledger))}
    assert broken == {}, f"seed {plan.seed}"
    return run


def say(what: str) -> None:
    """A line that is shown with a failure, or under `pytest -s`."""
    sys.stdout.write(f"\nchaos: {what}\n")


@pytest.mark.timeout(300)
def test_no_promise_breaks_under_random_harm(tmp_path, monkeypatch):
    prove(Plan(chosen_seed(), **SHORT), tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_promise_breaks_under_random_harm_for_minutes(tmp_path, monkeypatch):
    prove(Plan(chosen_seed(), **FULL), tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", KEPT)
def test_seed_that_once_broke_a_promise(tmp_path, monkeypatch, seed):
    prove(Plan(seed, **SHORT), tmp_path, monkeypatch)
