"""What is done to a queue as a whole: some per call, until all is done, and never half."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.support.keyspace import unchanged_keyspace
from toril.errors import InvalidInput, QueueActive
from toril.runtime.administering import (
    Cleaning,
    Retrying,
    clean_queue,
    drain_queue,
    obliterate_queue,
    pause_queue,
    promote_some,
    resume_queue,
    retry_some,
)
from toril.runtime.inspecting import QueueMeta
from toril.runtime.job import AsyncJob, Job
from toril.runtime.limiting import GlobalRateLimit
from toril.runtime.queue import AsyncQueue, Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.lane import Lane
    from toril.runtime.command import Command

ACTS: dict[str, Callable[[str], Command[Any]]] = {
    "pause": pause_queue,
    "resume": resume_queue,
    "drain": lambda base: drain_queue(base, delayed=True),
    "clean": lambda base: clean_queue(base, Cleaning("failed", 0), now_ms=10**13),
    "obliterate": lambda base: obliterate_queue(base, is_first=True, force=True),
    "promote-jobs": lambda base: promote_some(base, 10),
    "retry-jobs": lambda base: retry_some(base, Retrying("failed", 10)),
}


@pytest.fixture
def queue(redis_url: str) -> Iterator[Queue]:
    with Queue("lane", redis=redis_url) as opened:
        yield opened


def fill(lane: Lane, count: int = 3) -> None:
    for number in range(count):
        lane.wait(f"w{number}")
        lane.delay(f"d{number}", lane.now_ms + number)
        lane.prioritize(f"p{number}", 1 + number % 3)
        for state in ("completed", "failed"):
            job_id = lane.store(f"{state[0]}-{number}", finishedOn=number)
            lane.client.zadd(lane.key(state), {job_id: number})


def job_keys(lane: Lane) -> set[str]:
    return {key.decode().removeprefix(lane.base) for key in lane.client.scan_iter(count=10_000)} - {
        "wait",
        "delayed",
        "prioritized",
        "completed",
        "failed",
        "pc",
        "meta",
        "events",
        "marker",
    }


@pytest.mark.parametrize(
    ("act", "taken"),
    [
        *[("pause", name) for name in ("meta", "events")],
        *[("resume", name) for name in ("meta", "events", "marker", "wait", "paused", "delayed")],
        *[("drain", name) for name in ("wait", "paused", "prioritized", "delayed", "marker")],
        *[("clean", name) for name in ("events", "meta", "wait", "failed")],
        *[("obliterate", name) for name in ("active", "wait", "failed", "meta")],
        *[("promote-jobs", name) for name in ("delayed", "wait", "marker", "events", "meta")],
        *[("retry-jobs", name) for name in ("failed", "wait", "marker", "events", "meta")],
    ],
)
def test_taken_key_refuses_before_anything_is_written(lane: Lane, act: str, taken: str) -> None:
    fill(lane)
    lane.client.delete(lane.key(taken))
    lane.client.set(lane.key(taken), "taken")
    with unchanged_keyspace(lane.client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        lane.run(ACTS[act](lane.base))


@pytest.mark.parametrize("act", ACTS)
def test_full_server_can_be_emptied(lane: Lane, act: str) -> None:
    fill(lane)
    lane.client.config_set("maxmemory", 1)
    try:
        lane.run(ACTS[act](lane.base))
    finally:
        lane.client.config_set("maxmemory", 0)


def test_paused_queue_gives_no_job_and_wakes_nobody(lane: Lane, queue: Queue) -> None:
    lane.wait("1")
    lane.client.zadd(lane.key("marker"), {"0": 0, "1": 5})
    queue.pause()
    assert queue.is_paused()
    assert lane.claim().claims == ()
    assert lane.scores("marker") == {}
    queue.resume()
    assert not queue.is_paused()
    assert lane.scores("marker") == {"0": 0.0}
    assert [claim.id for claim in lane.claim().claims] == ["1"]
    assert lane.event_names() == ["paused", "resumed", "active"]


def test_everything_set_aside_comes_back_in_its_order(lane: Lane, queue: Queue) -> None:
    """A paused queue of BullMQ 5, too long for one call; it runs before what was added since."""
    aside = [f"a{number}" for number in range(12_000)]
    lane.client.rpush(lane.key("paused"), *aside)
    lane.client.hset(lane.key("meta"), "paused", 1)
    lane.wait("newer")
    assert lane.run(resume_queue(lane.base)) == "more"
    assert queue.is_paused()
    queue.resume()
    assert lane.ids("wait") == ["newer", *aside]
    assert not lane.client.exists(lane.key("paused"))
    assert lane.event_names() == ["resumed"]


def test_long_queue_is_drained_in_several_calls(lane: Lane, queue: Queue) -> None:
    fill(lane, 1500)
    assert lane.run(drain_queue(lane.base, delayed=False)) == ("more", 3000)
    queue.drain()
    assert [lane.ids(name) for name in ("wait", "prioritized")] == [[], []]
    assert len(lane.ids("delayed")) == len(lane.ids("failed")) == 1500
    queue.drain(delayed=True)
    assert lane.ids("delayed") == []
    assert len(job_keys(lane)) == 3000


def test_parents_elsewhere_are_released_in_the_order_of_bullmqs_drain(
    lane: Lane, queue: Queue
) -> None:
    """Waiting children go first, then delayed ones, then prioritized ones."""
    there = "bull:other:"
    for name in ("delayed", "prioritized", "wait"):
        lane.client.hset(f"{there}of-{name}", "name", "parent")
        lane.client.zadd(f"{there}waiting-children", {f"of-{name}": 1})
        lane.client.sadd(f"{there}of-{name}:dependencies", lane.key(name[0]))
    lane.prioritize("p", 1, parentKey=f"{there}of-prioritized")
    lane.delay("d", lane.now_ms, parentKey=f"{there}of-delayed")
    lane.wait("w", parentKey=f"{there}of-wait")

    queue.drain(delayed=True)

    released = lane.client.lrange(f"{there}wait", 0, -1)
    assert released == [b"of-wait", b"of-delayed", b"of-prioritized"]


def test_next_jobs_of_schedules_are_not_drained(lane: Lane, queue: Queue) -> None:
    for number in range(5):
        job_id = f"repeat:tick{number}:{lane.now_ms}"
        lane.delay(job_id, lane.now_ms, rjk=f"tick{number}")
        lane.client.zadd(lane.key("repeat"), {f"tick{number}": lane.now_ms})
        if number < 2:
            lane.client.zrem(lane.key("delayed"), job_id)
            lane.client.rpush(lane.key("wait"), job_id)
    fill(lane, 1100)
    queue.drain(delayed=True)
    assert lane.ids("wait") == [f"repeat:tick{number}:{lane.now_ms}" for number in range(2)]
    assert len(lane.ids("delayed")) == 3
    assert lane.ids("prioritized") == []


@pytest.mark.parametrize("name", ["wait", "paused", "active", "delayed", "prioritized", "failed"])
def test_many_old_jobs_are_cleaned_and_young_ones_stay(lane: Lane, queue: Queue, name: str) -> None:
    """The young ones stand between the old ones, further back than one call looks."""
    young = 4 * 10**12
    for number in range(2500):
        is_young = number % 5 == 0
        job_id = lane.store(f"j{number}", timestamp=young + number if is_young else number)
        if name in {"wait", "paused", "active"}:
            lane.client.lpush(lane.key(name), job_id)
        else:
            score = young + number if is_young and name == "failed" else number
            lane.client.zadd(lane.key(name), {job_id: score})
    removed = queue.clean("1s", 0, name)
    assert len(removed) == len(set(removed)) == 2000
    left = [f"j{number}" for number in range(0, 2500, 5)]
    assert lane.ids(name) == (left[::-1] if name in {"wait", "paused", "active"} else left)
    assert job_keys(lane) - {name, "toril:last"} >= set(left)
    assert lane.events() == [{"event": "cleaned", "count": "2000"}]


def test_cleaning_stops_at_its_limit_with_the_oldest_gone(lane: Lane, queue: Queue) -> None:
    fill(lane, 1200)
    assert queue.clean("0s", 1100, "failed") == [f"f-{number}" for number in range(1100)]
    assert queue.clean("0s", 5, "failed") == [f"f-{number}" for number in range(1100, 1105)]
    assert [event["count"] for event in lane.events()] == ["1100", "5"]


def test_locked_jobs_are_not_cleaned(lane: Lane, queue: Queue) -> None:
    for job_id in ("1", "2"):
        lane.client.lpush(lane.key("active"), lane.store(job_id, timestamp=1))
    lane.client.set(lane.key("1:lock"), "token")
    assert queue.clean("0s", 1, "active") == ["2"]
    assert lane.ids("active") == ["1"]


def test_same_clean_again_answers_the_same(lane: Lane) -> None:
    fill(lane)
    command = clean_queue(lane.base, Cleaning("failed", 0), ("n", "1"), now_ms=lane.now_ms)
    first = lane.run(command)
    with unchanged_keyspace(lane.client):
        assert lane.run(command) == first
    assert first == (["f-0", "f-1", "f-2"], None)


def test_obliterated_queue_leaves_nothing(lane: Lane, queue: Queue) -> None:
    fill(lane, 1100)
    lane.client.hset(lane.key("repeat:tick"), "ic", 1)
    lane.client.zadd(lane.key("repeat"), {"tick": 1})
    lane.client.hset(lane.key("metrics:failed"), "count", 1)
    queue.set_rate_limit(5)
    assert lane.run(obliterate_queue(lane.base, is_first=True, force=False)) == "more"
    assert lane.claim().claims == ()
    queue.obliterate()
    assert lane.client.keys() == []


def test_queue_with_running_jobs_is_obliterated_by_force_only(lane: Lane, queue: Queue) -> None:
    lane.claim_new()
    with unchanged_keyspace(lane.client), pytest.raises(QueueActive, match="force"):
        queue.obliterate()
    queue.obliterate(force=True)
    assert lane.client.keys() == []


def test_queue_that_is_resumed_meanwhile_is_left_as_it_is(lane: Lane) -> None:
    fill(lane, 1)
    with unchanged_keyspace(lane.client):
        assert lane.run(obliterate_queue(lane.base, is_first=False, force=True)) == "resumed"


@pytest.mark.parametrize("count", [1000, 7])
def test_all_delayed_jobs_are_promoted(lane: Lane, queue: Queue, count: int) -> None:
    fill(lane, 30)
    assert queue.promote_jobs(count=count) == 30
    assert lane.ids("wait")[:30] == [f"d{number}" for number in reversed(range(30))]
    assert lane.scores("marker") == {"0": 0.0}
    assert queue.promote_jobs() == 0


@pytest.mark.parametrize("count", [1000, 7])
def test_all_failed_jobs_are_retried(lane: Lane, queue: Queue, count: int) -> None:
    fill(lane, 30)
    assert queue.retry_jobs(timestamp=19, count=count) == 20
    assert queue.retry_jobs(count=count) == 10
    assert lane.ids("wait")[:30] == [f"f-{number}" for number in reversed(range(30))]
    assert "finishedOn" not in lane.job("f-3")
    assert len(lane.ids("completed")) == 30


def test_jobs_that_fail_again_meanwhile_are_not_retried_for_ever(lane: Lane, queue: Queue) -> None:
    fill(lane, 1)
    future = lane.store("future")
    lane.client.zadd(lane.key("failed"), {future: 2 * 10**12})
    assert queue.retry_jobs(timestamp=2_100_000_000_000) == 1


def test_limits_that_bind_every_worker(lane: Lane, queue: Queue) -> None:
    assert (queue.get_global_concurrency(), queue.get_global_rate_limit()) == (None, None)
    queue.set_global_concurrency(1)
    queue.set_global_rate_limit(2, "10s")
    assert queue.get_global_concurrency() == 1
    assert queue.get_global_rate_limit() == GlobalRateLimit(2, 10_000)
    assert queue.get_rate_limit_ttl() == 0
    for job_id in ("1", "2", "3", "4"):
        lane.wait(job_id)
    assert not queue.is_maxed()
    assert len(lane.claim(3).claims) == 1
    assert queue.is_maxed()
    queue.remove_global_concurrency()
    assert not queue.is_maxed()
    assert len(lane.claim(3).claims) == 1
    assert 0 < queue.get_rate_limit_ttl() <= 10_000
    assert queue.get_rate_limit_ttl(3) == 0
    queue.remove_global_rate_limit()
    assert len(lane.claim(3).claims) == 2


def test_held_queue_gives_no_job_until_the_hold_is_taken_away(lane: Lane, queue: Queue) -> None:
    lane.wait("1")
    queue.rate_limit("1m")
    assert 0 < queue.get_rate_limit_ttl() <= 60_000
    claimed = lane.claim()
    assert (claimed.claims, claimed.limit_ttl_ms > 0) == ((), True)
    queue.remove_rate_limit_key()
    assert queue.get_rate_limit_ttl() == 0
    assert len(lane.claim().claims) == 1


def test_settings_are_shown(lane: Lane, queue: Queue) -> None:
    assert queue.get_meta() == QueueMeta(False, None, None, None, None, "", {})
    queue.add("a")
    queue.pause()
    queue.set_global_concurrency(3)
    queue.set_global_rate_limit(5, "2s")
    meta = queue.get_meta()
    assert (meta.is_paused, meta.concurrency, meta.max, meta.duration_ms) == (True, 3, 5, 2000)
    assert (meta.max_events, meta.version.split(":")[0]) == (10_000, "toril")
    lane.client.hset(lane.key("meta"), mapping={"concurrency": "x", "other": b"\xff"})
    assert (queue.get_meta().concurrency, queue.get_meta().fields["other"]) == (None, "�")


def test_events_are_trimmed(lane: Lane, queue: Queue) -> None:
    for _ in range(500):
        lane.client.xadd(lane.key("events"), {"event": "x"})
    assert queue.trim_events(0) == 500
    assert queue.trim_events(10) == 0


@pytest.mark.parametrize(
    "act",
    [
        lambda queue: queue.clean(5),
        lambda queue: queue.clean("1s", -1),
        lambda queue: queue.clean("1s", 1, "repeat"),
        lambda queue: queue.promote_jobs(count=0),
        lambda queue: queue.promote_jobs(count=1001),
        lambda queue: queue.retry_jobs(state="waiting"),
        lambda queue: queue.retry_jobs(timestamp=datetime(2026, 1, 1)),  # noqa: DTZ001 - the fault
        lambda queue: queue.retry_jobs(timestamp="now"),
        lambda queue: queue.set_global_concurrency(0),
        lambda queue: queue.set_global_rate_limit(0, "1s"),
        lambda queue: queue.set_global_rate_limit(1, "0s"),
        lambda queue: queue.rate_limit(1000),
        lambda queue: queue.rate_limit("0s"),
        lambda queue: queue.trim_events(-1),
    ],
)
def test_bad_values_write_nothing(lane: Lane, queue: Queue, act: Callable[[Queue], object]) -> None:
    fill(lane)
    with unchanged_keyspace(lane.client), pytest.raises(InvalidInput):
        act(queue)


async def test_async_queues_have_the_same_methods(lane: Lane, redis_url: str) -> None:
    fill(lane)
    async with AsyncQueue("lane", redis=redis_url) as queue:
        await queue.pause()
        assert await queue.is_paused()
        await queue.resume()
        assert await queue.promote_jobs() == 3
        assert await queue.retry_jobs() == 3
        assert await queue.clean("0s") == ["c-0", "c-1", "c-2"]
        await queue.drain(delayed=True)
        assert (await queue.counts())["waiting"] == 0
        await queue.obliterate()
    assert [key for key in lane.client.scan_iter() if b"toril:last" not in key] == []


def test_both_queues_and_both_jobs_offer_the_same() -> None:
    for one, other in ((Queue, AsyncQueue), (Job, AsyncJob)):
        names = {name for name in dir(one) if not name.startswith("_")}
        assert names == {name for name in dir(other) if not name.startswith("_")}
