"""Which jobs a filter of the command line means."""

from __future__ import annotations

from argparse import Namespace

import pytest

from toril.cli.jobs.filters import Filter
from toril.cli.jobs.verb import STATES
from toril.errors import InvalidOption
from toril.runtime import reading
from toril.runtime.reading import JobRecord

NOW_MS = 1_700_000_000_000.0
JOB = JobRecord(
    "7",
    "thumbnail-small",
    timestamp_ms=int(NOW_MS) - 3_600_000,
    finished_on_ms=int(NOW_MS) - 60_000,
    verdict="timed-out",
    failed_reason="Timed out after 5 s: Connection refused",
)


@pytest.mark.parametrize(
    ("given", "is_meant"),
    [
        ({}, True),
        ({"name": "thumbnail-*"}, True),
        ({"name": "thumbnail"}, False),
        ({"verdicts": frozenset({"timed-out", "raised"})}, True),
        ({"verdicts": frozenset({"raised"})}, False),
        ({"reason": "connection REFUSED"}, True),
        ({"reason": "memory"}, False),
        ({"older_ms": 59_000}, True),
        ({"older_ms": 61_000}, False),
        ({"younger_ms": 61_000}, True),
        ({"younger_ms": 59_000}, False),
        ({"name": "*", "reason": "memory"}, False),
    ],
)
def test_a_job_is_meant_when_all_parts_fit(given, is_meant):
    assert Filter(("failed",), **given).matches(JOB, NOW_MS) is is_meant


def test_a_job_without_a_reason_fits_no_reason():
    assert not Filter(("failed",), reason="x").matches(JobRecord("1", "a"), NOW_MS)


def test_an_unknown_verdict_is_refused_with_those_that_there_are():
    options = Namespace(verdict=["tmied-out"], state=None)
    with pytest.raises(InvalidOption, match="timed-out"):
        Filter.of(options, STATES)


def test_the_flags_know_every_state():
    assert STATES == reading.STATES
