"""The page about operations, the alerts and the metrics name the same things."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.support.imports import ROOT
from tests.unit.test_metrics import SCRAPE, SETTLED
from toril import events as ev
from toril.runtime.depth import Depth
from toril.supervisor.service.heartbeat import EVERY_S, LIVES_MS, SLOW_S
from toril.supervisor.service.http import LIVES_S, MAX_CONNECTIONS, MAX_HEAD_BYTES
from toril.supervisor.service.metrics import FOLLOWED, Metrics

PAGE = (ROOT / "docs" / "operations.md").read_text()
ALERTS = (ROOT / "docs" / "alerts.yml").read_text()
_METRIC = re.compile(r"\b(?:toril|bullmq|process)_[a-z_]+[a-z]\b")


def families() -> set[str]:
    metrics = Metrics({"images": frozenset({"optimize"})})
    metrics.hear(SETTLED)
    metrics.hear(ev.LockLost("images", "1"))
    scrape = replace(SCRAPE, depths={"images": Depth({"waiting": 1}, 1.0)})
    return {line.split()[2] for text in metrics.text(scrape) for line in text.splitlines()[:1]}


def test_every_metric_is_on_the_page_and_none_that_is_not():
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in _METRIC.findall(row.split("|")[1])}

    assert named == families()


def test_alerts_ask_for_metrics_that_are_there():
    expressions = re.findall(r"expr: (.*(?:\n {10}.*)*)", ALERTS)

    assert expressions
    assert set(_METRIC.findall(" ".join(expressions))) <= families()


def test_numbers_and_words_on_the_page_are_those_in_force():
    head = f"{MAX_HEAD_BYTES // 1024} KiB of request"
    for words in (
        f"At most {MAX_CONNECTIONS} connections, {LIVES_S:g} seconds each, {head}",
        f"every {EVERY_S:g} seconds,\nlives for {LIVES_MS // 1000}",
        f"More than {SLOW_S * 1000:g} ms to Redis",
        *(f"`{word}`" for word in FOLLOWED.values()),
    ):
        assert words in PAGE
