"""Every method of a queue and of a job, over keys that somebody else has taken or filled.

What comes back is a value or an error of toril's that says what was found, expected and to be
done; nothing else leaks, and what is refused has changed nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.keyspace import differences, snapshot
from toril import Deduplication, Job, NewJob, Parent, Queue, QueueEvents, TorilError
from toril.errors import RedisRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

BASE = "bull:hostile:"
PLACES = ("wait", "active", "delayed", "prioritized", "completed", "failed", "waiting-children")
JOBS = [f"in-{place}" for place in PLACES]
PLAIN = {"name": "n", "data": "{}", "opts": "{}", "timestamp": 1, "delay": 0, "priority": 0}
HUGE = "9" * 400

Value = str | dict[str, Any] | list[str] | set[str]


def put(client: redis.Redis, key: str, value: Value) -> None:
    """One key, in place of what is there."""
    client.delete(key)
    match value:
        case dict():
            client.hset(key, mapping=value)
        case list():
            client.rpush(key, *value)
        case set():
            client.zadd(key, dict.fromkeys(value, 1))
        case _:
            client.set(key, value)


TYPES: dict[str, Value] = {"string": "x", "hash": {"a": "b"}, "list": ["x"]}
QUEUE_KEYS = {
    **dict.fromkeys(("wait", "active", "paused"), "list"),
    **dict.fromkeys(("delayed", "prioritized", "completed", "failed", "marker"), "zset"),
    **dict.fromkeys(("waiting-children", "repeat"), "zset"),
    **dict.fromkeys(("meta", "toril:limit", "metrics:completed", "dn:x", "in-wait"), "hash"),
    **dict.fromkeys(("in-failed", "in-active", "in-wait:processed", "in-wait:failed"), "hash"),
    **dict.fromkeys(("id", "pc", "limiter", "de:x", "in-active:lock", "stalled-check"), ""),
    **dict.fromkeys(("stalled", "in-wait:dependencies", "events", "toril:hold"), ""),
    **dict.fromkeys(("in-wait:logs", "metrics:completed:data"), "list"),
    **dict.fromkeys(("in-wait:unsuccessful",), "zset"),
}
"""Key → the type of `TYPES` that is its own."""

TAKEN: dict[str, dict[str, Value]] = {
    f"{key} is a {kind}": {key: value}
    for key, own in QUEUE_KEYS.items()
    for kind, value in [pair for pair in TYPES.items() if pair[0] != own][:2]
}

GARBAGE: dict[str, Any] = {
    "numbers": dict.fromkeys(
        ("timestamp", "delay", "priority", "atm", "ats", "stc", "processedOn", "finishedOn"), "nan"
    ),
    "endless numbers": dict.fromkeys(("timestamp", "delay", "priority", "atm", "ats"), HUGE),
    "texts": dict.fromkeys(("name", "data", "opts", "parent", "stacktrace", "progress"), b"\xff{"),
    "trees": dict.fromkeys(("data", "opts", "stacktrace", "progress", "returnvalue"), "[" * 90_000),
    "lists": dict.fromkeys(("opts", "parent", "t:detail", "t:usage"), "[1]"),
    "ours": dict.fromkeys(("t:history", "t:usage", "t:detail", "t:verdict", "t:cancel"), b"\xff{"),
    "ours, odd": {
        "t:history": json.dumps({"attempt": {}, "detail": 5, "wall_ms": 1, "cpu_ms": "x"}),
        "t:usage": json.dumps({"wall_ms": 1, "cpu_ms": [], "peak_memory_bytes": "x"}),
    },
    "ties": {"parentKey": "nocolon", "deid": b"\xff", "rjk": b"\xff", "defa": b"\xff"},
    "options": {"opts": '{"delay":"x","lifo":{},"kl":"nan","removeOnFail":{"count":[]},"de":7}'},
}

METHODS: dict[str, Callable[[Queue], Any]] = {
    "add": lambda q: q.add("n"),
    "add delayed": lambda q: q.add("n", delay="1s"),
    "add prioritized": lambda q: q.add("n", priority=3),
    "add deduplicated": lambda q: q.add("n", deduplication=Deduplication("x", replace=True)),
    "add child": lambda q: q.add("n", parent=Parent("in-wait", "bull:hostile")),
    "add_bulk": lambda q: q.add_bulk([NewJob("n"), NewJob("n")]),
    "get_job": lambda q: [q.get_job(job) for job in JOBS],
    "get_jobs": lambda q: q.get_jobs(["waiting", "active", "delayed", "prioritized", "failed"]),
    "iter_jobs": lambda q: list(q.iter_jobs(["completed", "waiting-children", "paused"])),
    "counts": lambda q: q.counts(),
    "set_rate_limit": lambda q: q.set_rate_limit(5, "1s"),
    "get_rate_limit": lambda q: q.get_rate_limit(),
    "remove_rate_limit": lambda q: q.remove_rate_limit(),
    "cancel": lambda q: [q.cancel(job) for job in JOBS],
    "stack": lambda q: q.stack("in-active", "1ms"),
    "pause": lambda q: q.pause(),
    "resume": lambda q: q.resume(),
    "is_paused": lambda q: q.is_paused(),
    "is_maxed": lambda q: q.is_maxed(),
    "drain": lambda q: q.drain(delayed=True),
    "clean": lambda q: q.clean("0s", 5, "failed"),
    "clean waiting": lambda q: q.clean("0s", 5, "waiting"),
    "clean active": lambda q: q.clean("0s", 5, "active"),
    "obliterate": lambda q: q.obliterate(force=True),
    "retry_jobs": lambda q: q.retry_jobs(),
    "promote_jobs": lambda q: q.promote_jobs(),
    "trim_events": lambda q: q.trim_events(5),
    "set_global_concurrency": lambda q: q.set_global_concurrency(5),
    "get_global_concurrency": lambda q: q.get_global_concurrency(),
    "remove_global_concurrency": lambda q: q.remove_global_concurrency(),
    "set_global_rate_limit": lambda q: q.set_global_rate_limit(5, "1s"),
    "get_global_rate_limit": lambda q: q.get_global_rate_limit(),
    "remove_global_rate_limit": lambda q: q.remove_global_rate_limit(),
    "rate_limit": lambda q: q.rate_limit("1s"),
    "get_rate_limit_ttl": lambda q: q.get_rate_limit_ttl(),
    "remove_rate_limit_key": lambda q: q.remove_rate_limit_key(),
    "get_job_state": lambda q: [q.get_job_state(job) for job in JOBS],
    "get_job_logs": lambda q: q.get_job_logs("in-wait"),
    "get_counts_per_priority": lambda q: q.get_counts_per_priority([0, 1]),
    "get_delayed_count": lambda q: q.get_delayed_count(5),
    "get_metrics": lambda q: q.get_metrics("completed"),
    "get_workers": lambda q: q.get_workers(),
    "get_meta": lambda q: q.get_meta(),
    "remove": lambda q: [q.remove(job) for job in ("in-delayed", "in-completed", "in-wait")],
    "remove_deduplication_key": lambda q: q.remove_deduplication_key("x"),
    "add_job_log": lambda q: q.add_job_log("in-wait", "line"),
    "update_job_progress": lambda q: q.update_job_progress("in-wait", 5),
    "get_dependencies": lambda q: q.get_dependencies("in-wait"),
    "get_dependencies_count": lambda q: q.get_dependencies_count("in-wait"),
    "get_deduplication_job_id": lambda q: q.get_deduplication_job_id("x"),
    "export_prometheus_metrics": lambda q: q.export_prometheus_metrics(),
}


def job(queue: Queue, job_id: str = "in-wait") -> Job:
    """A job as it would be known from before."""
    return Job(job_id, "n", _driver=queue._driver, _base=BASE)


JOB_METHODS: dict[str, Callable[[Queue], Any]] = {
    "wait": lambda q: [job(q, name).wait("1ms") for name in ("in-completed", "in-wait")],
    "state": lambda q: job(q).state(),
    "logs": lambda q: job(q).logs(),
    "log": lambda q: job(q).log("line"),
    "clear_logs": lambda q: job(q).clear_logs(),
    "update_data": lambda q: job(q).update_data(5),
    "update_progress": lambda q: job(q).update_progress(5),
    "change_delay": lambda q: job(q, "in-delayed").change_delay("1s"),
    "change_priority": lambda q: job(q).change_priority(5),
    "promote": lambda q: job(q, "in-delayed").promote(),
    "retry": lambda q: job(q, "in-failed").retry(),
    "remove": lambda q: job(q, "in-prioritized").remove(),
    "children_values": lambda q: job(q).children_values(),
    "ignored_children_failures": lambda q: job(q).ignored_children_failures(),
    "unprocessed_children": lambda q: job(q).unprocessed_children(),
    "failed_children": lambda q: job(q).failed_children(),
    "remove_deduplication_key": lambda q: job(q).remove_deduplication_key(),
    "get_dependencies": lambda q: job(q).get_dependencies(),
    "get_dependencies_count": lambda q: job(q).get_dependencies_count(),
    "remove_child_dependency": lambda q: job(q).remove_child_dependency(),
    "remove_unprocessed_children": lambda q: job(q).remove_unprocessed_children(),
}

SEVERAL_STEPS = {"cancel", "remove", "obliterate", "wait", "add_bulk", "iter_jobs"}
"""What some steps have done stays done when a later one is refused."""


@pytest.fixture
def queue(redis_url: str) -> Iterator[Queue]:
    with Queue("hostile", redis=redis_url) as opened:
        yield opened


def fill(client: redis.Redis) -> None:
    """A job in every place."""
    with client.pipeline() as pipe:
        pipe.flushall()
        for name, place in zip(JOBS, PLACES, strict=True):
            pipe.hset(BASE + name, mapping=PLAIN)
            key = BASE + place
            pipe.lpush(key, name) if place in {"wait", "active"} else pipe.zadd(key, {name: 5})
        pipe.set(BASE + "id", 7)
        pipe.execute()


def leaks(
    client: redis.Redis, queue: Queue, harm: Callable[[], None]
) -> dict[str, BaseException | str]:
    """Method → what it let out that is no error of ours, or what it changed and refused."""
    found: dict[str, BaseException | str] = {}
    fill(client)
    harm()
    before = snapshot(client)
    for name, method in [*METHODS.items(), *((f"job.{n}", m) for n, m in JOB_METHODS.items())]:
        fill(client)
        harm()
        try:
            method(queue)
        except RedisRefused as error:
            if "expected" not in str(error) and "look at the types" not in str(error):
                found[name] = f"does not say what to do: {error}"
            changed = differences(before, snapshot(client))
            if changed and name.removeprefix("job.") not in SEVERAL_STEPS:
                found[name] = f"refused, and changed {sorted(changed)}: {error}"
        except TorilError:
            pass
        except Exception as error:  # noqa: BLE001 - what leaks is what is looked for
            found[name] = error
    return found


@pytest.mark.servers("valkey")
@pytest.mark.parametrize("keys", [pytest.param(keys, id=name) for name, keys in TAKEN.items()])
def test_taken_key_leaks_nothing(redis_client: redis.Redis, queue: Queue, keys: dict[str, Value]):
    def harm() -> None:
        for key, value in keys.items():
            put(redis_client, BASE + key, value)

    assert leaks(redis_client, queue, harm) == {}


@pytest.mark.servers("valkey")
@pytest.mark.parametrize("fields", [pytest.param(one, id=name) for name, one in GARBAGE.items()])
def test_garbage_in_every_job_leaks_nothing(
    redis_client: redis.Redis, queue: Queue, fields: dict[str, Any]
):
    def harm() -> None:
        for name in JOBS:
            redis_client.hset(BASE + name, mapping=fields)

    assert leaks(redis_client, queue, harm) == {}


@pytest.mark.servers("valkey")
@pytest.mark.parametrize(
    "job_id", [b"\xff\xfe", b"a\nb", b"\0", b"", b"l" * 100_000, b"\xed\xa0\x80"]
)
def test_id_of_any_bytes_leaks_nothing(redis_client: redis.Redis, queue: Queue, job_id: bytes):
    def harm() -> None:
        for place in PLACES:
            redis_client.delete(BASE + place)
            key = BASE + place
            if place in {"wait", "active"}:
                redis_client.lpush(key, job_id)
            else:
                redis_client.zadd(key, {job_id: 5})
        redis_client.hset(BASE.encode() + job_id, mapping=PLAIN)

    assert leaks(redis_client, queue, harm) == {}


@pytest.mark.servers("valkey")
@pytest.mark.parametrize("job_id", ["\ud800", "a\nb", "\0", "x" * 100_000, "meta", "0:1"])
def test_strange_id_of_a_caller_leaks_nothing(queue: Queue, job_id: str):
    for method in (queue.get_job, queue.cancel, queue.get_job_state, queue.remove):
        try:
            method(job_id)
        except TorilError:
            continue


def test_every_method_is_here():
    for kind, methods in ((Queue, METHODS), (Job, JOB_METHODS)):
        public = {
            name
            for name in dir(kind)
            if not name.startswith("_") and callable(getattr(kind, name, None))
        }
        named = {name.split()[0] for name in methods}
        assert public - {"close", "of"} == named


def test_events_taken_by_somebody_are_an_error_of_ours(redis_client: redis.Redis, redis_url: str):
    put(redis_client, BASE + "events", "x")
    with pytest.raises(TorilError), QueueEvents("hostile", redis=redis_url) as events:
        next(events)
