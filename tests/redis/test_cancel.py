"""cancel.lua: what becomes of a job that somebody wants no more, wherever it is."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import redis

from tests.support.keyspace import unchanged_keyspace
from tests.support.lane import RAISED, RETURNED, Lane
from toril.runtime.asking import Cancellation, ask_channel, cancel_job
from toril.runtime.claiming import renew_locks
from toril.runtime.limiter import RateLimit
from toril.runtime.queue import AsyncQueue, Queue
from toril.runtime.retry import Complete, Fail, GiveBack, Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.servers import RedisServer

STATES: dict[str, Callable[..., str]] = {
    "waiting": lambda lane, **fields: lane.wait("1", **fields),
    "prioritized": lambda lane, **fields: lane.prioritize("1", 3, **fields),
    "delayed": lambda lane, **fields: lane.delay("1", lane.now_ms + 60_000, **fields),
    "set aside by BullMQ 5": lambda lane, **fields: lane.client.lpush(
        lane.key("paused"), lane.store("1", **fields)
    ),
}
every_state = pytest.mark.parametrize("state", STATES)


def cancel(lane: Lane, job_id: str = "1") -> Cancellation:
    word: Cancellation = lane.run(cancel_job(lane.base, job_id, now_ms=lane.now_ms))
    return word


@every_state
def test_job_that_does_not_run_fails_at_once(lane: Lane, state: str) -> None:
    STATES[state](lane, opts='{"attempts":5}')
    lane.client.delete(lane.key("events"))

    assert cancel(lane) is Cancellation.CANCELLED

    assert [lane.ids(name) for name in ("wait", "prioritized", "delayed", "paused")] == [[]] * 4
    assert lane.scores("failed") == {"1": lane.now_ms}
    job = lane.job("1")
    assert (job["failedReason"], job["finishedOn"]) == ("cancelled", str(lane.now_ms))
    assert (job["t:verdict"], json.loads(job["t:detail"])) == ("cancelled", {"stage": "waiting"})
    assert not job.keys() & {"atm", "ats", "t:cancel", "t:history"}
    prev = state if state in {"prioritized", "delayed"} else "waiting"
    assert lane.events() == [
        {"event": "failed", "jobId": "1", "failedReason": "cancelled", "prev": prev}
    ]


def test_others_stay_where_they_are(lane: Lane) -> None:
    for job_id in ("0", "1", "2"):
        lane.wait(job_id)
    cancel(lane)
    assert lane.ids("wait") == ["2", "0"]


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ("true", ["old"]),
        ("false", ["old", "1"]),
        ("1", ["1"]),
        ('{"count":1}', ["1"]),
        ('{"age":5}', ["1"]),
        ('{"age":0}', []),
        ('{"count":1e300,"age":"x","limit":-1}', ["old", "1"]),
        ('"nonsense"', ["old", "1"]),
        ("null", ["old", "1"]),
        ("[]", ["old", "1"]),
    ],
)
def test_its_own_keep_rule_is_obeyed(lane: Lane, rule: str, left: list[str]) -> None:
    lane.client.zadd(lane.key("failed"), {lane.store("old"): lane.now_ms - 60_000})
    lane.wait("1", opts=f'{{"removeOnFail":{rule}}}')
    assert cancel(lane) is Cancellation.CANCELLED
    assert lane.ids("failed") == left
    assert bool(lane.client.exists(lane.key("1"))) is ("1" in left)


def test_unreadable_options_keep_the_job(lane: Lane) -> None:
    lane.wait("1", opts="nonsense")
    assert cancel(lane) is Cancellation.CANCELLED
    assert lane.ids("failed") == ["1"]


def test_its_deduplication_key_is_released(lane: Lane) -> None:
    lane.wait("1", deid="d")
    lane.client.set(lane.key("de:d"), "1")
    cancel(lane)
    assert not lane.client.exists(lane.key("de:d"))


def test_running_job_is_marked_and_its_workers_are_told(lane: Lane) -> None:
    claim = lane.claim_new()
    with closing(lane.client.pubsub(ignore_subscribe_messages=True)) as heard:
        heard.subscribe(ask_channel(lane.base))
        heard.get_message(timeout=5)
        assert cancel(lane) is Cancellation.ASKED
        message = heard.get_message(timeout=5)
    assert json.loads(message["data"]) == {"do": "cancel", "id": "1"}
    assert lane.job("1")["t:cancel"] == str(lane.now_ms)
    assert lane.ids("active") == ["1"]
    assert lane.events() == []
    assert lane.run(renew_locks(lane.base, [claim], 90_000)).cancelled == (claim,)


def test_second_wish_changes_nothing(lane: Lane) -> None:
    lane.claim_new()
    cancel(lane)
    lane.now_ms += 1000
    with unchanged_keyspace(lane.client):
        assert cancel(lane) is Cancellation.ASKED


@pytest.mark.parametrize("settlement", [GiveBack(), Retry("boom", 0)])
def test_wish_outlives_the_attempt_and_costs_no_token(
    lane: Lane, settlement: GiveBack | Retry
) -> None:
    limit = RateLimit(tokens=1, per_ms=60_000, burst=1)
    claim = lane.claim_new()
    cancel(lane)
    lane.settle(claim, settlement, RAISED)
    lane.wait("2")
    claims = lane.claim(2, limit=limit).claims
    assert {claim.id: claim.is_cancelled for claim in claims} == {"1": True, "2": False}


@pytest.mark.parametrize("settlement", [Complete(), Fail("cancelled")])
def test_wish_ends_with_the_job(lane: Lane, settlement: Complete | Fail) -> None:
    """Or a job that an operator retries would be cancelled again."""
    claim = lane.claim_new()
    cancel(lane)
    lane.settle(claim, settlement, RETURNED)
    assert "t:cancel" not in lane.job("1")


def test_job_given_back_with_a_wish_fails_where_it_waits(lane: Lane) -> None:
    claim = lane.claim_new()
    cancel(lane)
    lane.settle(claim, GiveBack(), RAISED)
    assert cancel(lane) is Cancellation.CANCELLED
    assert "t:cancel" not in lane.job("1")


def test_finished_job_is_left(lane: Lane) -> None:
    lane.settle(lane.claim_new("done"), Complete(), RETURNED)
    lane.settle(lane.claim_new("failed-job"), Fail("boom"), RAISED)
    with unchanged_keyspace(lane.client):
        assert cancel(lane, "done") is Cancellation.FINISHED
        assert cancel(lane, "failed-job") is Cancellation.FINISHED
        assert cancel(lane, "nobody") is Cancellation.GONE


def test_answer_is_the_same_when_it_is_asked_for_again(lane: Lane) -> None:
    lane.wait("1")
    cancel(lane)
    with unchanged_keyspace(lane.client):
        assert cancel(lane) is Cancellation.CANCELLED


def test_job_that_carries_a_schedule_on_is_refused(lane: Lane) -> None:
    job_id = lane.wait("repeat:s:5", rjk="s")
    lane.client.zadd(lane.key("repeat"), {"s": 5})
    with unchanged_keyspace(lane.client):
        assert cancel(lane, job_id) is Cancellation.REFUSED
    lane.client.zadd(lane.key("repeat"), {"s": 6})
    assert cancel(lane, job_id) is Cancellation.CANCELLED


@pytest.mark.parametrize("name", ["waiting-children", None])
def test_job_in_no_queue_is_refused(lane: Lane, name: str | None) -> None:
    lane.store("1")
    if name:
        lane.client.zadd(lane.key(name), {"1": 1})
    with unchanged_keyspace(lane.client):
        assert cancel(lane) is Cancellation.REFUSED


@pytest.mark.parametrize("name", ["failed", "events", "meta", "paused", "delayed", "1"])
def test_taken_key_refuses_before_anything_is_written(lane: Lane, name: str) -> None:
    lane.wait("1")
    lane.client.set(lane.key(name), "taken")
    with unchanged_keyspace(lane.client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        cancel(lane)


@pytest.mark.parametrize("is_running", [True, False])
def test_full_server_takes_a_cancellation(lane: Lane, *, is_running: bool) -> None:
    lane.claim_new() if is_running else lane.wait("1")
    lane.client.config_set("maxmemory", 1)
    try:
        assert cancel(lane) is (Cancellation.ASKED if is_running else Cancellation.CANCELLED)
    finally:
        lane.client.config_set("maxmemory", 0)


async def test_queues_cancel(lane: Lane, redis_url: str) -> None:
    with Queue("lane", redis=redis_url) as queue:
        job = queue.add("a")
        assert queue.cancel(job.id) == "cancelled"
        assert job.state() == "failed"
        assert queue.cancel("meta") == "gone"
    lane.claim_new("2")
    async with AsyncQueue("lane", redis=redis_url) as queue:
        assert await queue.cancel("2") == "asked"
        found = await queue.get_job("2")
    assert found is not None
    assert found.cancelled_ms is not None


def test_user_without_a_right_to_publish_cancels_all_the_same(
    lane: Lane, redis_server: RedisServer
) -> None:
    """The worker learns of it by its renewals."""
    rules = ("~bull:lane:*", "-@all", "+@read", "+@write", "+@scripting", "+time")
    lane.client.execute_command("ACL", "SETUSER", "quiet", "on", ">pw", "resetchannels", *rules)
    lane.claim_new()
    try:
        url = f"unix://quiet:pw@{redis_server.socket_path}?db=0"
        with Queue("lane", redis=url) as queue:
            assert queue.cancel("1") == "asked"
    finally:
        lane.client.execute_command("ACL", "DELUSER", "quiet")
    assert "t:cancel" in lane.job("1")
