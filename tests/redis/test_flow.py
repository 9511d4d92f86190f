"""Children and parents: adding to a parent that is there, what an end does to it, waiting for them.

Parents are in a queue and under a prefix of their own; the effects of each option beside Node's
stand in tests/interop.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.support.keyspace import unchanged_keyspace
from tests.support.lane import RAISED, RETURNED, Lane
from toril.call import Outcome, Verdict
from toril.errors import InvalidInput, InvalidOption, ParentGone, ParentTaken
from toril.runtime.administering import Cleaning, clean_queue, drain_queue, obliterate_queue
from toril.runtime.asking import Cancellation, cancel_job
from toril.runtime.changing import remove_job
from toril.runtime.newjob import NewJob
from toril.runtime.options import KeepRule
from toril.runtime.preparing import prepare
from toril.runtime.retry import Complete, Fail, Retry, WaitForChildren
from toril.runtime.settling import Settled
from toril.runtime.ties import CHILD_FLAGS, Parent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toril.runtime.claim import Claim

WAITS = Outcome(Verdict.WAITING_CHILDREN)
P = Parent("p", "other:prefix:parents")


@pytest.fixture
def parents(redis_client: redis.Redis) -> Lane:
    """The queue of the parents."""
    return Lane(redis_client, base=f"{P.queue}:")


def wait_for(parents: Lane, *children: str, parent: str = "p", **fields: Any) -> None:
    """A parent in `waiting-children`."""
    parents.store(parent, **fields)
    parents.client.zadd(parents.key("waiting-children"), {parent: 1})
    if children:
        parents.client.sadd(parents.key(f"{parent}:dependencies"), *children)


def claim_child(lane: Lane, parents: Lane, flag: str = "", **fields: Any) -> Claim:
    """Child `c` of a parent that waits for it alone."""
    told = {"id": "p", "queueKey": P.queue} | ({flag: True} if flag else {})
    wait_for(parents, lane.key("c"), **fields)
    return lane.claim_new("c", parentKey=P.key, parent=json.dumps(told))


# -- adding


def test_child_is_registered_with_its_parent(lane: Lane, parents: Lane) -> None:
    parents.store("p")
    lane.add(parent=P, fail_parent_on_failure=True, ignore_dependency_on_failure=False)
    job = lane.job("1")
    assert job["parentKey"] == P.key
    assert json.loads(job["parent"]) == {"id": "p", "queueKey": P.queue, "fpof": True}
    assert json.loads(job["opts"]) == {
        "attempts": 0,
        "parent": {"id": "p", "queue": P.queue},
        "fpof": True,
        "idof": False,
    }
    assert lane.client.smembers(f"{P.key}:dependencies") == {b"bull:lane:1"}


def test_child_of_nobody_is_refused(lane: Lane) -> None:
    with nothing_but_the_answer(lane):
        refused = lane.add(parent=P)
    assert isinstance(refused, ParentGone)
    assert refused.parent_key == P.key


def test_child_of_another_parent_is_refused(lane: Lane, parents: Lane) -> None:
    for parent in ("p", "q"):
        parents.store(parent)
    lane.add(parent=Parent("q", P.queue), job_id="c")
    with nothing_but_the_answer(lane):
        refused = lane.add(parent=P, job_id="c")
    assert isinstance(refused, ParentTaken)
    assert refused.parent_key == parents.key("q")


@contextmanager
def nothing_but_the_answer(lane: Lane) -> Iterator[None]:
    """A refusal is remembered, so that the same call again is answered alike; it leaves no more."""
    memory = lane.key("toril:last:nonce")
    lane.client.delete(memory)
    with unchanged_keyspace(lane.client):
        yield
        lane.client.delete(memory)


@pytest.mark.parametrize(
    "old", [None, "the same", "gone"], ids=["no-parent", "same-parent", "parent-gone"]
)
def test_job_that_is_there_becomes_a_child(lane: Lane, parents: Lane, old: str | None) -> None:
    parents.store("p")
    fields = {"parentKey": P.key if old == "the same" else "bull:x:gone"} if old else {}
    lane.wait("c", **fields)
    assert lane.add(parent=P, job_id="c").is_duplicate
    assert lane.job("c")["parentKey"] == P.key
    assert lane.client.smembers(f"{P.key}:dependencies") == {b"bull:lane:c"}
    assert lane.event_names() == ["duplicated"]
    assert lane.ids("wait") == ["c"]


def test_child_that_had_completed_brings_its_result(lane: Lane, parents: Lane) -> None:
    lane.settle(lane.claim_new("c"), Complete(), RETURNED)
    wait_for(parents)
    lane.add(parent=P, job_id="c")
    assert lane.client.hgetall(f"{P.key}:processed") == {b"bull:lane:c": RETURNED.value}
    assert parents.ids("wait") == ["p"]
    assert parents.ids("waiting-children") == []


@pytest.mark.parametrize(
    "options",
    [
        {"parent": Parent("", "bull:q")},
        {"parent": Parent("1", "q")},
        {"parent": Parent("1", ":q")},
        {"parent": Parent("a:b", "bull:q")},
        {"parent": {"id": "1", "queue": "bull:q"}},
        {"fail_parent_on_failure": 1},
        {"fail_parent_on_failure": True, "remove_dependency_on_failure": True},
    ],
    ids=str,
)
def test_ties_that_mean_nothing_are_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        prepare(NewJob("n", **options))
    assert issubclass(InvalidOption, InvalidInput)


@pytest.mark.parametrize("key", ["p", "p:dependencies", "p:processed", "wait", "marker"])
def test_parent_of_another_type_refuses(lane: Lane, parents: Lane, key: str) -> None:
    parents.store("p")
    lane.client.delete(parents.key(key))
    lane.client.set(parents.key(key), "taken")
    with unchanged_keyspace(lane.client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        lane.add(parent=P)


# -- the end of a child


def test_last_child_releases_the_parent_with_its_result(lane: Lane, parents: Lane) -> None:
    claim = claim_child(lane, parents)
    parents.wait("other")
    lane.settle(claim, Complete(), RETURNED)
    assert lane.client.hgetall(f"{P.key}:processed") == {b"bull:lane:c": RETURNED.value}
    assert not lane.client.exists(f"{P.key}:dependencies")
    assert parents.ids("wait") == ["other", "p"]
    assert parents.scores("marker") == {"0": 0}
    assert parents.events() == [{"event": "waiting", "jobId": "p", "prev": "waiting-children"}]
    assert lane.event_names() == ["completed", "drained"]


def test_parent_waits_on_for_its_other_children(lane: Lane, parents: Lane) -> None:
    claim = claim_child(lane, parents)
    lane.client.sadd(f"{P.key}:dependencies", "bull:x:1")
    lane.settle(claim, Complete(), RETURNED)
    assert parents.ids("waiting-children") == ["p"]
    assert parents.events() == []


@pytest.mark.parametrize(
    ("fields", "place", "score"),
    [
        ({"priority": 3}, "prioritized", 3 * 2**32 + 1),
        ({"priority": 3, "delay": 500}, "delayed", (Lane.now_ms + 500) * 4096),
    ],
)
def test_parent_is_released_to_where_it_belongs(
    lane: Lane, parents: Lane, fields: dict[str, int], place: str, score: float
) -> None:
    lane.settle(claim_child(lane, parents, **fields), Complete(), RETURNED)
    assert parents.scores(place) == {"p": score}


def test_paused_parents_queue_gets_no_marker(lane: Lane, parents: Lane) -> None:
    lane.client.hset(parents.key("meta"), "paused", 1)
    lane.settle(claim_child(lane, parents), Complete(), RETURNED)
    assert parents.ids("wait") == ["p"]
    assert parents.scores("marker") == {}


@pytest.mark.parametrize("flag", CHILD_FLAGS.values())
def test_failed_child_without_more_attempts_ends_the_wait(
    lane: Lane, parents: Lane, flag: str
) -> None:
    lane.settle(claim_child(lane, parents, flag), Fail("boom"), RAISED)
    assert parents.ids("wait") == ["p"]
    recorded = lane.client.hgetall(f"{P.key}:failed")
    assert recorded == ({b"bull:lane:c": b"boom"} if flag in {"cpof", "idof"} else {})
    reason = "child bull:lane:c failed" if flag == "fpof" else None
    assert parents.job("p").get("defa") == reason
    (claim,) = parents.claim().claims
    assert claim.deferred_failure == reason


@pytest.mark.parametrize("flag", ["", *CHILD_FLAGS.values()])
def test_retry_of_a_child_leaves_its_parent_alone(lane: Lane, parents: Lane, flag: str) -> None:
    lane.settle(claim_child(lane, parents, flag), Retry("boom", 0), RAISED)
    assert parents.ids("waiting-children") == ["p"]
    assert lane.client.smembers(f"{P.key}:dependencies") == {b"bull:lane:c"}


def test_delayed_parent_of_a_failed_child_is_released(lane: Lane, parents: Lane) -> None:
    claim = claim_child(lane, parents, "fpof", delay=60_000)
    lane.client.zrem(parents.key("waiting-children"), "p")
    lane.client.zadd(parents.key("delayed"), {"p": 1})
    lane.settle(claim, Fail("boom"), RAISED)
    assert parents.ids("wait") == ["p"]
    assert parents.job("p")["delay"] == "0"


@pytest.mark.parametrize("keep", [KeepRule(count=0), KeepRule(age_s=0)])
def test_failed_child_that_is_removed_is_waited_for_no_more(
    lane: Lane, parents: Lane, keep: KeepRule
) -> None:
    """Dropped at once, or trimmed: out of the dependencies, and the parent runs."""
    lane.settle(claim_child(lane, parents, delay=500), Fail("boom", keep=keep), RAISED)
    assert parents.ids("wait") == ["p"]
    assert not lane.client.exists(f"{P.key}:dependencies", lane.key("c"))


def test_cancelled_child_has_failed(lane: Lane, parents: Lane) -> None:
    claim = claim_child(lane, parents, "fpof")
    lane.settle(claim, Retry("boom", 0), RAISED)
    command = cancel_job(lane.base, "c", now_ms=lane.now_ms)
    assert lane.run(command) is Cancellation.CANCELLED
    assert parents.job("p")["defa"] == "child bull:lane:c failed"


@pytest.mark.parametrize("key", ["dependencies", "processed"])
def test_foreign_key_at_the_parent_does_not_stop_the_child(
    lane: Lane, parents: Lane, key: str
) -> None:
    claim = claim_child(lane, parents)
    lane.client.delete(f"{P.key}:{key}")
    lane.client.set(f"{P.key}:{key}", "foreign")
    assert lane.settle(claim, Complete(), RETURNED) is Settled.DONE


@pytest.mark.parametrize("parent_key", ["gone:q:p", "nonsense", ""])
def test_child_whose_parent_is_gone_ends(lane: Lane, parent_key: str) -> None:
    for settlement, outcome in ((Complete(), RETURNED), (Fail("boom"), RAISED)):
        told = json.dumps({"id": "p", "queueKey": "gone:q", "fpof": True})
        claim = lane.claim_new("c", parentKey=parent_key, parent=told)
        assert lane.settle(claim, settlement, outcome) is Settled.DONE


def test_parents_queue_of_another_type_refuses_a_completion_before_anything_is_written(
    lane: Lane, parents: Lane
) -> None:
    claim = claim_child(lane, parents)
    lane.client.set(parents.key("wait"), "taken")
    with unchanged_keyspace(lane.client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        lane.settle(claim, Complete(), RETURNED)


def test_failure_is_recorded_though_the_parents_queue_is_broken(lane: Lane, parents: Lane) -> None:
    """Else the job would come back for ever; the parent learns of it when it is retried."""
    claim = claim_child(lane, parents)
    lane.client.set(parents.key("wait"), "taken")
    assert lane.settle(claim, Fail("boom"), RAISED) is Settled.DONE
    assert lane.ids("failed") == [claim.id]
    assert parents.client.scard(parents.key("p:dependencies")) == 1


@pytest.mark.parametrize("key", ["wait", "active", "marker", "events", "meta"])
@pytest.mark.parametrize("way", ["drain", "clean", "obliterate", "remove", "trim"])
def test_parent_whose_queue_cannot_take_it_waits_on(
    lane: Lane, parents: Lane, way: str, key: str
) -> None:
    """Its child goes all the same: nothing is stumbled on half-way."""
    wait_for(parents, lane.key("c"))
    lane.client.set(parents.key(key), "taken")
    lane.store("c", parentKey=P.key)
    remove_child(lane, way)
    assert not lane.client.exists(lane.key("c"), lane.key("wait"), f"{P.key}:dependencies")
    assert parents.ids("waiting-children") == ["p"]


def remove_child(lane: Lane, way: str) -> None:
    """Job `c`, that waits or has failed, by one of the ways in which jobs are removed."""
    if way == "trim":
        lane.client.zadd(lane.key("failed"), {"c": 1})
    else:
        lane.client.lpush(lane.key("wait"), "c")
    match way:
        case "drain":
            lane.run(drain_queue(lane.base, delayed=False))
        case "clean":
            lane.run(clean_queue(lane.base, Cleaning("wait", 0)))
        case "obliterate":
            lane.run(obliterate_queue(lane.base, is_first=True, force=False))
        case "remove":
            lane.run(remove_job(lane.base, "c", with_children=True))
        case "trim":
            lane.settle(lane.claim_new("d"), Fail("boom", keep=KeepRule(age_s=0)), RAISED)


# -- waiting for children


def test_active_job_waits_for_its_children_and_pays_nothing(lane: Lane) -> None:
    claim = lane.claim_new("p")
    lane.client.sadd(lane.key("p:dependencies"), "bull:x:1")
    assert lane.settle(claim, WaitForChildren(), WAITS) is Settled.DONE
    assert lane.scores("waiting-children") == {"p": lane.now_ms}
    assert lane.ids("active") == []
    assert not lane.client.exists(lane.key("p:lock"))
    assert "atm" not in lane.job("p")
    assert lane.job("p")["t:verdict"] == "waiting-children"
    assert lane.events() == [{"event": "waiting-children", "jobId": "p", "prev": "active"}]


def test_job_whose_children_have_all_ended_runs_again_at_once(lane: Lane) -> None:
    claim = lane.claim_new("p")
    lane.client.hset(lane.key("p:processed"), "bull:x:1", "1")
    lane.settle(claim, WaitForChildren(), WAITS)
    assert lane.ids("wait") == ["p"]
    assert lane.event_names() == ["waiting-children", "waiting"]


@pytest.mark.parametrize("way", ["failed", "removed"])
def test_job_whose_only_child_left_no_trace_runs_again_at_once(lane: Lane, way: str) -> None:
    """It added the child, which was gone before the job could wait for it."""
    parent = lane.claim_new("p")
    lane.add(job_id="c", parent=Parent("p", "bull:lane"), remove_dependency_on_failure=True)
    if way == "removed":
        lane.run(remove_job(lane.base, "c", with_children=True))
    else:
        (child,) = lane.claim().claims
        lane.settle(child, Fail("boom"), RAISED)
    assert lane.settle(parent, WaitForChildren(), WAITS) is Settled.DONE
    assert lane.ids("wait") == ["p"]


def test_child_of_nodes_whose_failure_does_not_count_was_a_child(lane: Lane) -> None:
    parent = lane.claim_new("p")
    told = json.dumps({"id": "p", "queueKey": "bull:lane", "rdof": True})
    lane.client.sadd(lane.key("p:dependencies"), lane.key("c"))
    lane.settle(lane.claim_new("c", parentKey=lane.key("p"), parent=told), Fail("boom"), RAISED)
    assert lane.settle(parent, WaitForChildren(), WAITS) is Settled.DONE


def test_cancelled_job_does_not_wait_for_its_children(lane: Lane) -> None:
    claim = lane.claim_new("p")
    lane.client.sadd(lane.key("p:dependencies"), "bull:x:1")
    lane.run(cancel_job(lane.base, "p", now_ms=lane.now_ms))
    assert lane.settle(claim, WaitForChildren(), WAITS) is Settled.DONE
    assert lane.scores("waiting-children") == {}
    (again,) = lane.claim().claims
    assert (again.id, again.is_cancelled) == ("p", True)
    assert lane.settle(again, Fail("cancelled"), RAISED) is Settled.DONE


@pytest.mark.parametrize("key", ["dependencies", "unsuccessful"])
def test_foreign_key_in_place_of_the_children_refuses(lane: Lane, key: str) -> None:
    claim = lane.claim_new("p")
    lane.client.set(lane.key(f"p:{key}"), "foreign")
    with unchanged_keyspace(lane.client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        lane.settle(claim, WaitForChildren(), WAITS)


@pytest.mark.parametrize("refusal", [Settled.FAILED_CHILDREN, Settled.NO_CHILDREN])
def test_job_that_cannot_wait_is_still_ours(lane: Lane, refusal: Settled) -> None:
    claim = lane.claim_new("p")
    if refusal is Settled.FAILED_CHILDREN:
        lane.client.zadd(lane.key("p:unsuccessful"), {"bull:x:1": 1})
    with unchanged_keyspace(lane.client):
        assert lane.settle(claim, WaitForChildren(), WAITS) is refusal
    assert lane.settle(claim, Fail("boom"), RAISED) is Settled.DONE
