"""Deduplication in add.lua and at the end of a job; the modes one by one stand in tests/interop."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.support.keyspace import unchanged_keyspace
from tests.support.lane import RAISED, RETURNED, Lane
from toril.errors import InvalidOption
from toril.runtime.adding import Added
from toril.runtime.asking import cancel_job
from toril.runtime.newjob import NewJob
from toril.runtime.options import KeepRule
from toril.runtime.preparing import prepare
from toril.runtime.retry import Complete, Fail, Retry
from toril.runtime.ties import Deduplication, Parent

if TYPE_CHECKING:
    from toril.runtime.retry import Settlement

KEEP = Deduplication("d", keep_last_if_active=True)


def test_second_job_is_turned_away_and_said_to_be_a_duplicate(lane: Lane) -> None:
    assert lane.add(deduplication=Deduplication("d")) == Added("1", False, lane.now_ms)
    assert lane.add(deduplication=Deduplication("d")).is_duplicate
    assert lane.ids("wait") == ["1"]
    assert json.loads(lane.job("1")["opts"]) == {
        "attempts": 0,
        "de": {"id": "d"},
    }
    assert lane.events()[-1] == {
        "event": "deduplicated",
        "jobId": "1",
        "deduplicationId": "d",
        "deduplicatedJobId": "2",
    }


@pytest.mark.parametrize("key", ["de:d", "dn:d", "id", "pc"])
def test_key_of_another_type_refuses_before_anything_is_written(lane: Lane, key: str) -> None:
    lane.client.sadd(lane.key(key), "taken")
    with unchanged_keyspace(lane.client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        lane.add(deduplication=KEEP)


@pytest.mark.parametrize(
    "wrong",
    [
        Deduplication(""),
        Deduplication(7),
        Deduplication("\ud800"),
        Deduplication("d", ttl="soon"),
        Deduplication("d", extend="yes"),
        {"id": "d"},
    ],
    ids=repr,
)
def test_wish_that_means_nothing_is_an_error(wrong: Any) -> None:
    with pytest.raises(InvalidOption, match="deduplication"):
        prepare(NewJob("n", deduplication=wrong))


def test_parent_and_deduplication_exclude_each_other() -> None:
    with pytest.raises(InvalidOption, match="exclude"):
        prepare(NewJob("n", deduplication=KEEP, parent=Parent("1", "bull:q")))


# -- the end of an owner


ENDS = [
    (Complete(), RETURNED),
    (Complete(KeepRule(count=0)), RETURNED),
    (Fail("boom"), RAISED),
    (Fail("boom", keep=KeepRule(count=0)), RAISED),
]
every_end = pytest.mark.parametrize(
    ("settlement", "outcome"), ENDS, ids=["completed", "dropped", "failed", "dropped-failed"]
)


@every_end
def test_job_that_was_noted_follows_its_owner(
    lane: Lane, settlement: Settlement, outcome: Any
) -> None:
    lane.add(deduplication=KEEP)
    (claim,) = lane.claim().claims
    lane.add(data={"n": 1}, deduplication=KEEP)
    lane.add("late", {"n": 2}, deduplication=KEEP, priority=4)
    assert lane.job("dn:d")["jid"] == "3"
    lane.client.delete(lane.key("events"))
    lane.settle(claim, settlement, outcome)
    assert lane.scores("prioritized") == {"3": 4 * 2**32 + 1}
    job = lane.job("3")
    assert (job["name"], job["data"], job["deid"]) == ("late", '{"n":2}', "d")
    assert job["timestamp"] == str(lane.now_ms)
    assert lane.client.get(lane.key("de:d")) == b"3"
    assert lane.client.pttl(lane.key("de:d")) == -1
    assert not lane.client.exists(lane.key("dn:d"))
    assert lane.client.get(lane.key("id")) == b"4"
    ended = "completed" if isinstance(settlement, Complete) else "failed"
    assert [name for name in lane.event_names() if name != "retries-exhausted"] == [
        "added",
        "waiting",
        ended,
    ]


def test_delayed_follower_is_delayed_from_the_owners_end(lane: Lane) -> None:
    lane.add(deduplication=KEEP)
    (claim,) = lane.claim().claims
    lane.add(deduplication=KEEP, delay="60s", job_id="x")
    lane.now_ms += 5000
    lane.settle(claim, Complete(), RETURNED)
    assert lane.scores("delayed") == {"x": (lane.now_ms + 60_000) * 4096}


def test_retry_of_the_owner_adds_nobody(lane: Lane) -> None:
    lane.add(deduplication=KEEP)
    (claim,) = lane.claim().claims
    lane.add(deduplication=KEEP)
    lane.settle(claim, Retry("boom", 0), RAISED)
    assert lane.client.exists(lane.key("dn:d"))
    assert lane.client.get(lane.key("de:d")) == b"1"


def test_cancelled_owner_is_followed_too(lane: Lane) -> None:
    lane.add(deduplication=KEEP)
    (claim,) = lane.claim().claims
    lane.add(deduplication=KEEP)
    lane.settle(claim, Retry("boom", 0), RAISED)
    lane.run(cancel_job(lane.base, "1", now_ms=lane.now_ms))
    assert lane.ids("wait") == ["2"]


def test_noted_id_that_was_taken_meanwhile_becomes_a_number(lane: Lane) -> None:
    """The job that has it is left as it is, and stands in one list once."""
    lane.add(deduplication=KEEP)
    (claim,) = lane.claim().claims
    lane.add(data={"n": "noted"}, deduplication=KEEP, job_id="x")
    lane.add(data={"n": "other"}, job_id="x")
    lane.settle(claim, Complete(), RETURNED)
    assert lane.ids("wait") == ["4", "x"]
    assert (lane.job("x")["data"], lane.job("4")["data"]) == ('{"n":"other"}', '{"n":"noted"}')


@pytest.mark.parametrize("opts", ["no json", "[]", '{"de":7,"delay":"soon"}'])
def test_note_that_cannot_be_read_is_added_as_a_plain_job(lane: Lane, opts: str) -> None:
    lane.add(deduplication=KEEP)
    (claim,) = lane.claim().claims
    lane.add(deduplication=KEEP)
    lane.client.hset(lane.key("dn:d"), "opts", opts)
    lane.settle(claim, Complete(), RETURNED)
    assert lane.ids("wait") == ["2"]


@pytest.mark.parametrize("key", ["de:d", "dn:d"])
def test_foreign_key_in_place_of_a_note_does_not_stop_the_end(lane: Lane, key: str) -> None:
    lane.add(deduplication=KEEP)
    (claim,) = lane.claim().claims
    lane.client.delete(lane.key(key))
    lane.client.sadd(lane.key(key), "foreign")
    assert lane.settle(claim, Complete(), RETURNED).value == "done"


def test_next_job_is_added_though_its_parents_key_is_foreign(lane: Lane) -> None:
    lane.add(deduplication=KEEP)
    (claim,) = lane.claim().claims
    lane.add(deduplication=KEEP)
    lane.client.set("foreign", "key")
    lane.client.hset(lane.key("dn:d"), mapping={"pk": "bull:q:p", "pdk": "foreign"})
    assert lane.settle(claim, Complete(), RETURNED).value == "done"
    assert lane.ids("wait") == ["2"]
