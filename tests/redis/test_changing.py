"""What is done to one job: what it changes, when it is refused, and that it is done once."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.support.fault_proxy import FaultProxy
from tests.support.keyspace import unchanged_keyspace
from toril.errors import (
    InvalidInput,
    InvalidOption,
    JobGone,
    JobLocked,
    JobNotInState,
    JobNotRemovable,
)
from toril.runtime import changing
from toril.runtime.changing import (
    add_log_line,
    change_job_delay,
    change_job_priority,
    promote_job,
    remove_job,
    retry_job,
    update_job_data,
    update_job_progress,
)
from toril.runtime.job import Job
from toril.runtime.queue import AsyncQueue, Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.lane import Lane
    from tests.support.servers import RedisServer
    from toril.runtime.command import Command

ON_ONE: dict[str, Callable[[str, str], Command[Any]]] = {
    "promote": promote_job,
    "retry": lambda base, job_id: retry_job(base, job_id, "failed"),
    "change-delay": lambda base, job_id: change_job_delay(base, job_id, 1000),
    "change-priority": lambda base, job_id: change_job_priority(base, job_id, 2, lifo=False),
    "update-data": lambda base, job_id: update_job_data(base, job_id, b"1"),
    "update-progress": lambda base, job_id: update_job_progress(base, job_id, b"1"),
    "log": lambda base, job_id: add_log_line(base, job_id, b"line", None),
    "remove": lambda base, job_id: remove_job(base, job_id, with_children=True),
}


@pytest.fixture
def queue(redis_url: str) -> Iterator[Queue]:
    with Queue("lane", redis=redis_url) as opened:
        yield opened


def finished(lane: Lane, job_id: str = "1", state: str = "failed", **fields: Any) -> str:
    ended = {"finishedOn": 5, "processedOn": 4, "atm": 3, "ats": 4, "t:crashes": 2} | fields
    ended["failedReason" if state == "failed" else "returnvalue"] = '"x"'
    lane.client.zadd(lane.key(state), {lane.store(job_id, **ended): 5})
    return job_id


@pytest.mark.parametrize("act", ON_ONE)
def test_job_that_is_not_there_changes_nothing(lane: Lane, act: str) -> None:
    lane.wait("other")
    with unchanged_keyspace(lane.client):
        assert lane.run(ON_ONE[act](lane.base, "nobody")) in {"gone", -1}


@pytest.mark.parametrize("act", ["promote", "change-delay"])
def test_only_delayed_jobs_are_promoted_or_delayed_anew(lane: Lane, act: str) -> None:
    lane.wait("1")
    with unchanged_keyspace(lane.client):
        assert lane.run(ON_ONE[act](lane.base, "1")) == "waiting"


@pytest.mark.parametrize("state", ["waiting", "completed", "unknown"])
def test_only_failed_jobs_are_retried_as_failed(lane: Lane, state: str) -> None:
    {
        "waiting": lane.wait,
        "unknown": lane.store,
        "completed": lambda job_id: finished(lane, job_id, "completed"),
    }[state]("1")
    with unchanged_keyspace(lane.client):
        assert lane.run(ON_ONE["retry"](lane.base, "1")) == state


@pytest.mark.parametrize(
    ("act", "taken"),
    [
        *[("promote", name) for name in ("wait", "marker", "events", "meta", "delayed", "pc")],
        *[("retry", name) for name in ("wait", "marker", "events", "meta", "failed")],
        *[("change-delay", name) for name in ("delayed", "marker", "events", "meta")],
        *[("change-priority", name) for name in ("wait", "prioritized", "marker", "meta")],
        *[("update-progress", name) for name in ("events", "meta")],
        *[("remove", name) for name in ("wait", "active", "events", "completed", "meta")],
        *[(act, "1") for act in ON_ONE if act != "remove"],
        ("log", "1:logs"),
    ],
)
def test_taken_key_refuses_before_anything_is_written(lane: Lane, act: str, taken: str) -> None:
    if act == "retry":
        finished(lane)
    else:
        lane.delay("1", lane.now_ms)
    lane.client.delete(lane.key(taken))
    lane.client.set(lane.key(taken), "taken") if taken != "pc" else lane.client.lpush(
        lane.key(taken), "taken"
    )
    with unchanged_keyspace(lane.client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        lane.run(ON_ONE[act](lane.base, "1"))


@pytest.mark.parametrize("act", ["promote", "retry", "change-delay", "change-priority", "remove"])
def test_full_server_lets_jobs_move_and_go(lane: Lane, act: str) -> None:
    finished(lane) if act == "retry" else lane.delay("1", lane.now_ms)
    lane.client.config_set("maxmemory", 1)
    try:
        assert lane.run(ON_ONE[act](lane.base, "1")) in {"done", "removed"}
    finally:
        lane.client.config_set("maxmemory", 0)


@pytest.mark.parametrize("act", ["update-data", "update-progress", "log"])
def test_full_server_takes_no_new_bytes(lane: Lane, act: str) -> None:
    lane.wait("1")
    lane.client.config_set("maxmemory", 1)
    try:
        with (
            unchanged_keyspace(lane.client),
            pytest.raises(redis.ResponseError, match=r"OOM|memory"),
        ):
            lane.run(ON_ONE[act](lane.base, "1"))
    finally:
        lane.client.config_set("maxmemory", 0)


@pytest.mark.parametrize("act", ["promote", "retry", "log", "remove"])
def test_same_request_again_changes_nothing_and_answers_the_same(lane: Lane, act: str) -> None:
    finished(lane) if act == "retry" else lane.delay("1", lane.now_ms)
    command = {
        "promote": lambda request: promote_job(lane.base, "1", request),
        "retry": lambda request: retry_job(lane.base, "1", "failed", (), request),
        "log": lambda request: add_log_line(lane.base, "1", b"x", None, request),
        "remove": lambda request: remove_job(lane.base, "1", request, with_children=True),
    }[act]
    first = lane.run(command(("nonce", "1")))
    with unchanged_keyspace(lane.client):
        assert lane.run(command(("nonce", "1"))) == first
    assert lane.run(command(("nonce", "2"))) != first


def test_memory_of_a_request_expires(lane: Lane) -> None:
    lane.wait("1")
    lane.run(add_log_line(lane.base, "1", b"x", None, ("nonce", "1")))
    assert 0 < lane.client.pttl(lane.key("toril:last:nonce")) <= 300_000


def test_lost_replies_do_not_repeat_what_was_done(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        FaultProxy(redis_server.socket_path, tmp_path_factory.mktemp("p")) as proxy,
        Queue("mail", redis=proxy.url) as queue,
    ):
        job = queue.add("a", delay="1h")
        job.log("warm")
        proxy.cut(1)
        assert job.log("once") == 2
        proxy.cut(1)
        job.promote()
        proxy.cut(1)
        assert job.remove()
        assert proxy.were_cut == 3


def test_promoted_job_wakes_a_worker(lane: Lane) -> None:
    lane.delay("1", lane.now_ms + 9, priority=3)
    lane.run(promote_job(lane.base, "1"))
    assert (lane.ids("prioritized"), lane.ids("delayed")) == (["1"], [])
    assert lane.scores("marker") == {"0": 0.0}
    assert lane.job("1")["delay"] == "0"
    assert lane.events() == [{"event": "waiting", "jobId": "1", "prev": "delayed"}]


def test_promoted_job_of_a_paused_queue_wakes_nobody(lane: Lane) -> None:
    lane.delay("1", lane.now_ms)
    lane.client.hset(lane.key("meta"), "paused", 1)
    lane.run(promote_job(lane.base, "1"))
    assert (lane.ids("wait"), lane.scores("marker")) == (["1"], {})


@pytest.mark.parametrize(
    ("resets", "left"),
    [
        ((), {"atm": "3", "ats": "4", "t:crashes": "2"}),
        (("made",), {"ats": "4"}),
        (("started",), {"atm": "3", "t:crashes": "2"}),
    ],
)
def test_retried_jobs_counters_go_on_unless_they_are_reset(
    lane: Lane, resets: tuple[str, ...], left: dict[str, str]
) -> None:
    finished(lane)
    assert lane.run(retry_job(lane.base, "1", "failed", resets)) == "done"
    job = lane.job("1")
    assert {name: job[name] for name in ("atm", "ats", "t:crashes") if name in job} == left
    assert not job.keys() & {"finishedOn", "processedOn", "failedReason"}


def test_changed_delay_counts_from_now(lane: Lane) -> None:
    lane.delay("1", lane.now_ms + 60_000)
    lane.run(change_job_delay(lane.base, "1", 1000, now_ms=lane.now_ms))
    assert lane.scores("delayed") == {"1": (lane.now_ms + 1000) * 4096}
    assert lane.scores("marker") == {"1": lane.now_ms + 1000}


def test_job_delayed_to_the_time_it_has_comes_after_itself(lane: Lane) -> None:
    """As with BullMQ: its old place is looked at like any other's."""
    lane.delay("1", lane.now_ms + 1000)
    lane.run(change_job_delay(lane.base, "1", 1000, now_ms=lane.now_ms))
    assert lane.scores("delayed") == {"1": (lane.now_ms + 1000) * 4096 + 1}


def test_job_in_two_places_is_changed_where_it_is_looked_for(lane: Lane) -> None:
    """An iteration that was promoted and ended before its time, and was scheduled again."""
    lane.delay("1", lane.now_ms + 1000)
    lane.client.zadd(lane.key("completed"), {"1": lane.now_ms})
    lane.client.zadd(lane.key("failed"), {"1": lane.now_ms})

    words = [
        lane.run(change_job_delay(lane.base, "1", 5000, now_ms=lane.now_ms)),
        lane.run(promote_job(lane.base, "1")),
        lane.run(retry_job(lane.base, "1", "failed")),
        lane.run(retry_job(lane.base, "1", "failed")),
    ]

    assert words == ["done", "done", "done", "completed"]
    assert lane.ids("delayed") == lane.ids("failed") == []


@pytest.mark.parametrize(
    ("opts", "keep", "left"),
    [
        ("{}", None, ["old", "new"]),
        ('{"kl":1}', None, ["new"]),
        ('{"kl":0}', None, ["old", "new"]),
        ('{"kl":5}', 1, ["new"]),
        ("{}", 0, []),
        ("nonsense", None, ["old", "new"]),
        ('{"kl":"x"}', None, ["old", "new"]),
        ("[]", None, ["old", "new"]),
    ],
)
def test_log_keeps_as_many_lines_as_it_is_told(
    lane: Lane, opts: str, keep: int | None, left: list[str]
) -> None:
    lane.wait("1", opts=opts)
    lane.client.rpush(lane.key("1:logs"), "old")
    assert lane.run(add_log_line(lane.base, "1", b"new", keep)) == len(left)
    assert lane.ids("1:logs") == left


def test_job_says_why_something_cannot_be_done(queue: Queue, lane: Lane) -> None:
    job = queue.add("a")
    with pytest.raises(JobNotInState, match="is waiting; expected delayed") as caught:
        job.promote()
    assert (caught.value.job_id, caught.value.state) == (job.id, "waiting")
    with pytest.raises(JobNotInState, match="expected failed"):
        job.retry()
    lane.client.set(lane.key(f"{job.id}:lock"), "token")
    with pytest.raises(JobLocked, match="cancel it"):
        job.remove()
    lane.client.delete(lane.key(f"{job.id}:lock"))
    assert job.remove() is True
    assert job.remove() is False
    for act in (job.promote, job.retry, lambda: job.log("x"), lambda: job.update_data(1)):
        with pytest.raises(JobGone):
            act()
    lane.delay("repeat:tick:5", 5, rjk="tick")
    lane.client.zadd(lane.key("repeat"), {"tick": 5})
    with pytest.raises(JobNotRemovable, match="scheduler"):
        queue.remove("repeat:tick:5")


@pytest.mark.parametrize("job_id", ["meta", "wait", "events"])
def test_queues_own_keys_are_no_jobs(queue: Queue, lane: Lane, job_id: str) -> None:
    lane.wait("1")
    with unchanged_keyspace(lane.client):
        assert queue.remove(job_id) is False
        assert queue.get_job_state(job_id) == "gone"
        with pytest.raises(JobGone):
            queue.update_job_progress(job_id, 1)
        with pytest.raises(JobGone):
            queue.add_job_log(job_id, "x")


def test_bad_values_write_nothing(queue: Queue, lane: Lane) -> None:
    job = queue.add("a")
    with unchanged_keyspace(lane.client):
        for act in (
            lambda: job.update_data(float("nan")),
            lambda: job.update_progress({1: 2}),
            lambda: job.log(b"bytes"),
            lambda: job.log("x", keep_logs=-1),
            lambda: job.clear_logs(True),
            lambda: job.change_priority(1.5),
            lambda: job.change_priority(2**21),
            lambda: job.change_delay(5),
            lambda: job.retry("waiting"),
            lambda: queue.remove(7),
            lambda: queue.remove(""),
        ):
            with pytest.raises(InvalidInput):
                act()
    with pytest.raises(InvalidOption, match="priority"):
        job.change_priority(-1)
    with pytest.raises(InvalidInput, match="progress is not JSON"):
        job.update_progress(float("inf"))


@pytest.mark.parametrize("value", [0, 12.5, "half", None, True, {"a": ["ü\u2028", None]}, []])
def test_progress_is_json_in_hash_and_event(queue: Queue, lane: Lane, value: Any) -> None:
    job = queue.add("a")
    job.update_progress(value)
    found = queue.get_job(job.id)
    assert found is not None
    assert found.progress == value
    event = lane.events()[-1]
    assert (event["event"], json.loads(event["data"])) == ("progress", value)


async def test_async_jobs_have_the_same_methods(redis_url: str) -> None:
    async with AsyncQueue("lane", redis=redis_url) as queue:
        job = await queue.add("a", delay="1h")
        await job.update_data({"n": 2})
        await job.update_progress(50)
        assert await job.log("one") == 1
        assert await job.logs() == ["one"]
        await job.clear_logs()
        await job.change_delay("2h")
        await job.promote()
        await job.change_priority(4)
        found = await queue.get_job(job.id)
        assert found is not None
        assert (found.data, found.progress, found.priority) == ({"n": 2}, 50, 4)
        assert await job.state() == "prioritized"
        assert await queue.remove(job.id)
        assert await job.state() == "gone"


def test_methods_show_their_own_signature() -> None:
    """`help` and editors see what a caller can give, not what the method adds."""
    assert str(inspect.signature(Queue.remove)) == (
        "(self, /, job_id: 'str', *, remove_children: 'bool' = True) -> 'bool'"
    )
    assert Queue.remove.__doc__ == changing.remove.__doc__
    documented = {Queue.clean.__doc__, Queue.add_job_log.__doc__, Job.log.__doc__}
    assert not any("base:" in (text or "") for text in documented)
    assert ["job_id: the job" in (one.__doc__ or "") for one in (Queue.add_job_log, Job.log)] == [
        *(True, False)
    ]
