"""Counters that are no integers are found before the first write: INCR fails half-way there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from tests.support.keyspace import unchanged_keyspace
from tests.support.lane import START_MS

if TYPE_CHECKING:
    from tests.support.lane import Lane


def test_claim_loses_no_job_to_a_counter_that_is_none(lane: Lane):
    lane.delay("late", START_MS, priority=5)
    lane.wait("next")
    lane.client.hset(lane.key("meta"), mapping={"max": 5, "duration": 1000})
    lane.client.set(lane.key("pc"), "abc")
    with unchanged_keyspace(lane.client), pytest.raises(redis.ResponseError, match="no integer"):
        lane.claim()


@pytest.mark.parametrize("found", ["abc", ["a"], None])
def test_limiter_that_is_no_counter_begins_a_new_window(lane: Lane, found: object):
    lane.wait("next")
    lane.client.hset(lane.key("meta"), mapping={"max": 5, "duration": 1000})
    key = lane.key("limiter")
    if isinstance(found, list):
        lane.client.rpush(key, *found)
    elif found is not None:
        lane.client.set(key, found)
    assert [claim.id for claim in lane.claim().claims] == ["next"]
    assert lane.client.get(key) == b"1"
    assert 0 < lane.client.pttl(key) <= 1000
