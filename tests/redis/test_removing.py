"""Removing one job: what goes with it, and what keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from tests.support.keyspace import unchanged_keyspace
from toril.runtime.changing import (
    remove_job,
)

if TYPE_CHECKING:
    from tests.support.lane import Lane


def test_removed_job_leaves_nothing(lane: Lane) -> None:
    lane.wait("1", deid="d")
    lane.client.set(lane.key("de:d"), "1")
    lane.client.hset(lane.key("dn:d"), "name", "next")
    lane.client.rpush(lane.key("1:logs"), "x")
    assert lane.run(remove_job(lane.base, "1", with_children=True)) == "removed"
    assert set(lane.client.keys()) == {lane.key("events").encode(), lane.key("meta").encode()}


def test_somebody_elses_deduplication_key_stays(lane: Lane) -> None:
    lane.wait("1", deid="d")
    lane.client.set(lane.key("de:d"), "2")
    lane.run(remove_job(lane.base, "1", with_children=True))
    assert lane.client.get(lane.key("de:d")) == b"2"


def test_locked_job_is_not_removed(lane: Lane) -> None:
    lane.claim_new()
    with unchanged_keyspace(lane.client):
        assert lane.run(remove_job(lane.base, "1", with_children=True)) == "locked"


def family(lane: Lane) -> None:
    """1 waits for 2, which waits for 3 in another queue."""
    for child, parent in (("bull:lane:2", "1"), ("bull:other:3", "2")):
        lane.client.hset(child, mapping={"name": "n", "parentKey": lane.key(parent)})
        lane.client.sadd(lane.key(f"{parent}:dependencies"), child)
    lane.store("1")
    lane.client.zadd(lane.key("waiting-children"), {"1": 1, "2": 1})
    lane.client.lpush("bull:other:wait", "3")


def test_locked_descendant_keeps_the_whole_family(lane: Lane) -> None:
    family(lane)
    lane.client.set("bull:other:3:lock", "token")
    with unchanged_keyspace(lane.client):
        assert lane.run(remove_job(lane.base, "1", with_children=True)) == "locked"
    assert lane.run(remove_job(lane.base, "1", with_children=False)) == "removed"


def test_family_over_several_queues_goes_as_one(lane: Lane) -> None:
    family(lane)
    assert lane.run(remove_job(lane.base, "1", with_children=True)) == "removed"
    assert not lane.client.exists(lane.key("1"), lane.key("2"), "bull:other:3", "bull:other:wait")


@pytest.mark.parametrize("is_settled", [False, True])
def test_family_in_a_circle_ends(lane: Lane, *, is_settled: bool) -> None:
    """Foreign programs can tie such a knot."""
    family(lane)
    if is_settled:
        lane.client.hset("bull:other:3:processed", lane.key("1"), "1")
        lane.client.hset("bull:other:3:processed", "bull:other:3", "1")
    else:
        lane.client.sadd("bull:other:3:dependencies", lane.key("1"))
        lane.client.hset(lane.key("1"), "parentKey", "bull:other:3")
    assert lane.run(remove_job(lane.base, "1", with_children=True)) == "removed"


def test_too_many_descendants_are_refused(lane: Lane) -> None:
    lane.wait("1")
    children = [f"bull:lane:c{number}" for number in range(10_001)]
    lane.client.sadd(lane.key("1:dependencies"), *children)
    with unchanged_keyspace(lane.client):
        assert lane.run(remove_job(lane.base, "1", with_children=True)) == "too-many"


@pytest.mark.parametrize("key", ["events", "meta"])
def test_childs_queue_of_another_type_refuses_before_anything_is_written(
    lane: Lane, key: str
) -> None:
    lane.wait("1")
    lane.client.sadd(lane.key("1:dependencies"), "bull:children:c")
    lane.client.hset("bull:children:c", "name", "n")
    lane.client.set(f"bull:children:{key}", "taken")
    with unchanged_keyspace(lane.client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        lane.run(remove_job(lane.base, "1", with_children=True))


def test_deep_family_goes_as_one(lane: Lane) -> None:
    lane.wait("0")
    for at in range(2000):
        lane.client.sadd(lane.key(f"{at}:dependencies"), lane.key(str(at + 1)))
    assert lane.run(remove_job(lane.base, "0", with_children=True)) == "removed"
    assert not lane.client.keys(lane.key("*:dependencies"))


def test_job_that_carries_a_schedule_on_is_not_removed(lane: Lane) -> None:
    job_id = f"repeat:tick:{lane.now_ms}"
    lane.delay(job_id, lane.now_ms, rjk="tick")
    lane.client.zadd(lane.key("repeat"), {"tick": lane.now_ms})
    with unchanged_keyspace(lane.client):
        assert lane.run(remove_job(lane.base, job_id, with_children=True)) == "scheduled"
    lane.client.zadd(lane.key("repeat"), {"tick": lane.now_ms + 1})
    assert lane.run(remove_job(lane.base, job_id, with_children=True)) == "removed"


def test_keys_of_other_types_below_a_job_do_not_stop_its_removal(lane: Lane) -> None:
    lane.wait("1", parentKey=lane.key("9"))
    lane.client.set(lane.key("9"), "taken")
    for name in ("1:dependencies", "1:processed", "9:dependencies"):
        lane.client.set(lane.key(name), "taken")
    assert lane.run(remove_job(lane.base, "1", with_children=True)) == "removed"
