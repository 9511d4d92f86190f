"""Counters that are no integers are found before the first write: INCR fails half-way there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from tests.support.keyspace import unchanged_keyspace
from tests.support.lane import START_MS

if TYPE_CHECKING:
    from tests.support.lane import Lane


@pytest.mark.parametrize("key", ["pc", "limiter"])
def test_claim_loses_no_job_to_a_counter_that_is_none(lane: Lane, key: str):
    lane.delay("late", START_MS, priority=5)
    lane.wait("next")
    lane.client.hset(lane.key("meta"), mapping={"max": 5, "duration": 1000})
    lane.client.set(lane.key(key), "abc")
    with unchanged_keyspace(lane.client), pytest.raises(redis.ResponseError, match="no integer"):
        lane.claim()
