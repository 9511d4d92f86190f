"""Metrics lists: how many jobs ended in each minute, as BullMQ counts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from toril.runtime.options import KeepRule
from toril.runtime.retry import Complete, Fail
from toril.runtime.settling import Settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.lane import Lane
    from toril.runtime.retry import Settlement

MINUTE_MS = 60_000
ENDS: dict[str, Callable[[int], Settlement]] = {
    "completed": lambda size: Complete(metrics_size=size),
    "failed": lambda size: Fail("boom", metrics_size=size),
}
every_end = pytest.mark.parametrize("name", ENDS)


def end(lane: Lane, name: str, size: int = 10, *, after_ms: int = 0) -> None:
    lane.now_ms += after_ms
    claim = lane.claim_new(f"job-{lane.now_ms}-{len(lane.tokens)}")
    lane.settle(claim, ENDS[name](size))


def counted(lane: Lane, name: str) -> dict[str, int]:
    fields = lane.client.hgetall(lane.key(f"metrics:{name}"))
    return {field.decode(): int(value) for field, value in fields.items()}


def minutes(lane: Lane, name: str) -> list[int]:
    return [int(one) for one in lane.client.lrange(lane.key(f"metrics:{name}:data"), 0, -1)]


@every_end
def test_first_job_starts_the_counting(lane: Lane, name: str) -> None:
    end(lane, name)
    assert counted(lane, name) == {"count": 1, "prevTS": lane.now_ms, "prevCount": 0}
    assert minutes(lane, name) == []


@every_end
def test_gap_of_three_minutes_is_two_zeros_and_the_count(lane: Lane, name: str) -> None:
    """As observed with BullMQ: list `0 0 1`, count 2, prevCount 1."""
    end(lane, name)
    end(lane, name, after_ms=3 * MINUTE_MS)
    assert minutes(lane, name) == [0, 0, 1]
    assert counted(lane, name) == {"count": 2, "prevTS": lane.now_ms, "prevCount": 1}


def test_jobs_of_one_minute_are_one_number(lane: Lane) -> None:
    lane.now_ms -= lane.now_ms % MINUTE_MS
    for after_ms in (0, 20_000, 39_999, 1, 59_999, 1):
        end(lane, "completed", after_ms=after_ms)
    assert minutes(lane, "completed") == [2, 3]
    assert counted(lane, "completed")["count"] == 6


@pytest.mark.parametrize("gap", [7, 5000])
def test_at_most_the_size_is_kept(lane: Lane, gap: int) -> None:
    end(lane, "completed", 5)
    end(lane, "completed", 5, after_ms=gap * MINUTE_MS)
    assert minutes(lane, "completed") == [0, 0, 0, 0, 1]
    end(lane, "completed", 5, after_ms=MINUTE_MS)
    assert minutes(lane, "completed") == [1, 0, 0, 0, 0]


def test_large_size_and_a_long_gap_are_filled(lane: Lane) -> None:
    size = 14 * 24 * 60
    end(lane, "completed", size)
    end(lane, "completed", size, after_ms=30 * 24 * 60 * MINUTE_MS)
    assert minutes(lane, "completed") == [0] * (size - 1) + [1]


def test_clock_that_steps_back_adds_no_minute(lane: Lane) -> None:
    end(lane, "completed")
    end(lane, "completed", after_ms=-10 * MINUTE_MS)
    assert minutes(lane, "completed") == []


@every_end
def test_size_zero_counts_nothing(lane: Lane, name: str) -> None:
    end(lane, name, 0)
    assert lane.client.keys(lane.key("metrics*")) == []


def test_dropped_job_is_counted(lane: Lane) -> None:
    lane.settle(lane.claim_new(), Complete(KeepRule(count=0), metrics_size=1))
    assert counted(lane, "completed")["count"] == 1


@every_end
@pytest.mark.parametrize("suffix", ["", ":data"])
def test_taken_key_counts_nothing_and_costs_no_job(lane: Lane, name: str, suffix: str) -> None:
    claim, key = lane.claim_new(), lane.key(f"metrics:{name}{suffix}")
    lane.client.set(key, "taken")
    assert lane.settle(claim, ENDS[name](3)) is Settled.DONE
    assert lane.ids(name) == [claim.id]
    assert lane.client.get(key) == b"taken"
