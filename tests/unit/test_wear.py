"""When a child has served its time."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from toril.sandbox.limits import Limits
from toril.sandbox.wear import Service

MIB = 1024 * 1024


@dataclass(frozen=True)
class Facts:
    age_s: float | None = 100.0
    growth_bytes: int | None = 0


@pytest.mark.parametrize(
    ("changes", "jobs", "facts", "is_over"),
    [
        ({"max_jobs": 500}, 499, Facts(), False),
        ({"max_jobs": 500}, 500, Facts(), True),
        ({"max_jobs": None}, 10**6, Facts(), False),
        ({"max_age_s": 60.0}, 1, Facts(59.9), False),
        ({"max_age_s": 60.0}, 1, Facts(60.0), True),
        ({"max_age_s": 60.0}, 1, Facts(None), False),
        ({"max_rss_growth_bytes": MIB}, 1, Facts(growth_bytes=MIB), False),
        ({"max_rss_growth_bytes": MIB}, 1, Facts(growth_bytes=MIB + 1), True),
        ({"max_rss_growth_bytes": MIB}, 1, Facts(growth_bytes=None), False),
        ({"max_rss_growth_bytes": MIB}, 1, Facts(growth_bytes=-5), False),
    ],
)
def test_child_is_replaced_by_jobs_age_or_growth(changes, jobs, facts, is_over):
    assert Service.of(Limits(**changes), 1.0).is_over(jobs, facts) is is_over


@pytest.mark.parametrize(
    ("max_jobs", "spread", "last"),
    [(500, 0.9, 450), (500, 1.1, 550), (1, 0.9, 1), (1, 1.1, 1), (3, 1.1, 3), (2, 0.9, 2)],
)
def test_spread_moves_the_number_of_jobs_and_never_to_none(max_jobs, spread, last):
    service = Service.of(Limits(max_jobs=max_jobs), spread)

    assert not service.is_spent(last - 1)
    assert service.is_spent(last)


def test_spread_moves_the_age():
    limits = Limits(max_age_s=100.0)

    assert Service.of(limits, 0.9).is_over(1, Facts(95.0))
    assert not Service.of(limits, 1.1).is_over(1, Facts(95.0))
