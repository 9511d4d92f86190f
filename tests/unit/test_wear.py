"""When a child has served its time."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from toril.sandbox.limits import Limits
from toril.sandbox.wear import is_spent, worn

MIB = 1024 * 1024


@dataclass(frozen=True)
class Facts:
    jobs_run: int = 0
    ready_at_s: float | None = 100.0
    rss_growth_bytes: int | None = 0


@pytest.mark.parametrize(
    ("changes", "facts", "reason"),
    [
        ({}, Facts(499), ""),
        ({}, Facts(500), "it has run 500 jobs"),
        ({"max_jobs": None}, Facts(10**6), ""),
        ({"max_age_s": 60.0}, Facts(ready_at_s=140.1), ""),
        ({"max_age_s": 60.0}, Facts(ready_at_s=140.0), "it is 1 m 0 s old"),
        ({"max_age_s": 60.0}, Facts(ready_at_s=None), ""),
        ({"max_rss_growth_bytes": MIB}, Facts(rss_growth_bytes=MIB), ""),
        ({"max_rss_growth_bytes": MIB}, Facts(rss_growth_bytes=2 * MIB), "it has grown by 2 MiB"),
        ({"max_rss_growth_bytes": MIB}, Facts(rss_growth_bytes=None), ""),
        ({"max_rss_growth_bytes": MIB}, Facts(rss_growth_bytes=-5), ""),
    ],
)
def test_child_is_worn_by_jobs_age_or_growth(changes, facts, reason):
    assert worn(Limits(**changes), facts, 200.0, 1.0) == reason


@pytest.mark.parametrize(
    ("max_jobs", "spread", "last"),
    [(500, 0.9, 450), (500, 1.1, 550), (1, 0.9, 1), (1, 1.1, 1), (3, 1.1, 3), (2, 0.9, 2)],
)
def test_spread_moves_the_number_of_jobs_and_never_to_none(max_jobs, spread, last):
    limits = Limits(max_jobs=max_jobs)

    assert not is_spent(limits, Facts(last - 1), spread)
    assert is_spent(limits, Facts(last), spread)


def test_spread_moves_the_age():
    limits = Limits(max_age_s=100.0)

    assert worn(limits, Facts(ready_at_s=0.0), 95.0, 0.9)
    assert not worn(limits, Facts(ready_at_s=0.0), 95.0, 1.1)
