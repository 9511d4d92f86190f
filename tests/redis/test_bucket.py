"""The global token bucket of claim.lua: exact, shared, never above burst + d * rate."""

from __future__ import annotations

import random

import pytest

from tests.support.keyspace import unchanged_keyspace
from tests.support.lane import START_MS, Lane
from toril.runtime.limiter import RateLimit, set_limit


def fill(lane: Lane, count: int) -> None:
    for n in range(count):
        lane.wait(f"j{n}")


def state(lane: Lane) -> dict[str, int]:
    fields = lane.client.hgetall(lane.key("toril:limit"))
    return {name.decode(): int(value) for name, value in fields.items()}


def test_configured_limit_is_written_once_and_spent(lane: Lane) -> None:
    limit = RateLimit(tokens=10, per_ms=1000, burst=3)
    fill(lane, 5)
    claimed = lane.claim(5, limit=limit)
    assert len(claimed.claims) == 3
    assert claimed.limit_ttl_ms == 100
    assert state(lane) == {
        "tokens": 10,
        "per_us": 1_000_000,
        "burst": 3,
        "revision": 0,
        "level": 0,
        "at": START_MS * 1000,
    }


def test_empty_bucket_changes_nothing_until_the_told_time(lane: Lane) -> None:
    limit = RateLimit(tokens=10, per_ms=1000, burst=1)
    fill(lane, 2)
    assert len(lane.claim(2, limit=limit).claims) == 1
    lane.now_ms += 99
    with unchanged_keyspace(lane.client):
        assert lane.claim(limit=limit).limit_ttl_ms == 1
    lane.now_ms += 1
    assert len(lane.claim(limit=limit).claims) == 1


def test_refill_is_exact_over_fractions_of_a_token(lane: Lane) -> None:
    """3 tokens per second, asked every 100 ms: after 10 s exactly 30, none lost to rounding."""
    limit = RateLimit(tokens=3, per_ms=1000, burst=2)
    fill(lane, 40)
    started = len(lane.claim(40, limit=limit).claims)
    for _ in range(100):
        lane.now_ms += 100
        started += len(lane.claim(40, limit=limit).claims)
    assert started == 2 + 30


def test_bucket_never_holds_more_than_its_burst(lane: Lane) -> None:
    limit = RateLimit(tokens=1, per_ms=10, burst=4)
    fill(lane, 20)
    lane.claim(20, limit=limit)
    lane.now_ms += 10 * 365 * 86_400_000
    assert len(lane.claim(20, limit=limit).claims) == 4


def test_no_window_ever_sees_more_than_burst_plus_rate(lane: Lane) -> None:
    """Two claimers at random times; every window of every length is checked."""
    chance = random.Random(7)
    limit = RateLimit(tokens=7, per_ms=1000, burst=5)
    fill(lane, 300)
    times: list[int] = []
    for _ in range(120):
        lane.now_ms += chance.choice((0, 1, 13, 143, 500))
        for _claimer in range(2):
            times += [lane.now_ms] * len(lane.claim(chance.randint(1, 4), limit=limit).claims)
    assert len(times) > 50
    for first in range(len(times)):
        for last in range(first, len(times)):
            seconds = (times[last] - times[first]) / 1000
            assert last - first + 1 <= 5 + 7 * seconds + 1e-9


def test_clock_that_steps_back_refills_nothing(lane: Lane) -> None:
    limit = RateLimit(tokens=10, per_ms=1000, burst=2)
    fill(lane, 10)
    lane.claim(10, limit=limit)
    lane.now_ms -= 60_000
    assert lane.claim(10, limit=limit).claims == ()


def test_limit_in_redis_wins_over_a_configuration_of_its_revision(lane: Lane) -> None:
    lane.run(set_limit(lane.base, RateLimit(tokens=1, per_ms=60_000, burst=1)))
    fill(lane, 5)
    claimed = lane.claim(5, limit=RateLimit(tokens=100, per_ms=1, burst=100))
    assert len(claimed.claims) == 1
    assert state(lane)["burst"] == 1


def test_higher_revision_replaces_the_limit_and_keeps_the_tokens(lane: Lane) -> None:
    fill(lane, 10)
    lane.claim(3, limit=RateLimit(tokens=1, per_ms=60_000, burst=5))
    newer = RateLimit(tokens=7, per_ms=7_000, burst=9, revision=1)
    assert len(lane.claim(10, limit=newer).claims) == 2
    assert (state(lane)["revision"], state(lane)["per_us"]) == (1, 7_000_000)


def test_higher_revision_clips_the_tokens_to_its_burst(lane: Lane) -> None:
    fill(lane, 10)
    lane.claim(1, limit=RateLimit(tokens=1, per_ms=60_000, burst=9))
    newer = RateLimit(tokens=1, per_ms=60_000, burst=2, revision=1)
    assert len(lane.claim(10, limit=newer).claims) == 2


def test_limit_binds_claimers_without_a_configuration(lane: Lane) -> None:
    fill(lane, 5)
    lane.claim(1, limit=RateLimit(tokens=1, per_ms=60_000, burst=2))
    assert len(lane.claim(5).claims) == 1


def test_lost_state_is_a_fresh_bucket_not_no_limit(lane: Lane) -> None:
    limit = RateLimit(tokens=1, per_ms=60_000, burst=2)
    fill(lane, 9)
    lane.claim(9, limit=limit)
    lane.client.delete(lane.key("toril:limit"))
    assert len(lane.claim(9, limit=limit).claims) == 2
    lane.client.hdel(lane.key("toril:limit"), "level", "at")
    assert len(lane.claim(9, limit=limit).claims) == 2


def test_job_that_is_failed_without_running_costs_no_token(lane: Lane) -> None:
    limit = RateLimit(tokens=1, per_ms=60_000, burst=1)
    lane.wait("f", defa="reason")
    fill(lane, 2)
    assert [claim.id for claim in lane.claim(3, limit=limit).claims] == ["f", "j0"]


def test_largest_limit_counts_exactly(lane: Lane) -> None:
    per_ms = 86_400_000
    burst = (2**53 - 1) // (per_ms * 1000)
    limit = RateLimit(tokens=burst, per_ms=per_ms, burst=burst)
    fill(lane, 3)
    lane.claim(3, limit=limit)
    assert state(lane)["level"] == (burst - 3) * per_ms * 1000
    lane.now_ms += 1
    fill(lane, 1)
    lane.claim(1, limit=limit)
    assert state(lane)["level"] == (burst - 4) * per_ms * 1000 + burst * 1000


@pytest.mark.parametrize("paused", [True, False])
def test_claim_without_jobs_spends_nothing(lane: Lane, *, paused: bool) -> None:
    limit = RateLimit(tokens=1, per_ms=60_000, burst=2)
    fill(lane, 4)
    lane.claim(1, limit=limit)
    if paused:
        lane.client.hset(lane.key("meta"), "paused", 1)
    else:
        lane.client.delete(lane.key("wait"))
    with unchanged_keyspace(lane.client):
        lane.claim(3, limit=limit)
