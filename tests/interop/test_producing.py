"""What toril's Queue writes, key by key against what BullMQ's writes for the same call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.compare import queue_view
from tests.interop.conftest import BOTH_MAJORS
from tests.interop.node import NodeError
from tests.support.keyspace import unchanged_keyspace
from toril import Backoff, InvalidInput, NewJob, Queue, Telemetry
from toril.sizes import MAX_DATA_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from tests.interop.node import NodeDriver

AT_MS = 1_750_000_000_000
"""`timestamp` of every job here, so that both sides write the same times."""

_NO_DATA = object()


@dataclass(frozen=True)
class Same:
    """One call in both languages: `opts` for Node, `kwargs` for toril."""

    opts: dict[str, Any] = field(default_factory=dict)
    kwargs: dict[str, Any] = field(default_factory=dict)
    data: Any = _NO_DATA
    times: int = 1


CASES = {
    "plain": Same(data={"path": "/a.png"}),
    "no-data": Same(),
    "scalar-data": Same(data=3),
    "unicode": Same(data={"é/": 'naïve 🐂 "quoted"\n\u2028'}),
    "nested": Same(data={"a": [1, 2.5, None, True, {"b": []}], "c": {}}),
    "twice": Same(times=2),
    "delayed": Same({"delay": 60_000}, {"delay": "60s"}),
    "delayed-same-ms": Same({"delay": 60_000}, {"delay": "60s"}, times=3),
    "no-delay": Same({"delay": 0}, {"delay": "0s"}),
    "prioritized": Same({"priority": 5}, {"priority": 5}, times=2),
    "highest-priority-number": Same({"priority": 2_097_151}, {"priority": 2_097_151}),
    "lifo": Same({"lifo": True}, {"lifo": True}, times=2),
    "delayed-prioritized-lifo": Same(
        {"delay": 60_000, "priority": 5, "lifo": True},
        {"delay": "60s", "priority": 5, "lifo": True},
    ),
    "prioritized-lifo": Same({"priority": 5, "lifo": True}, {"priority": 5, "lifo": True}),
    "attempts": Same({"attempts": 3}, {"attempts": 3}),
    "backoff-fixed": Same(
        {"attempts": 3, "backoff": {"type": "fixed", "delay": 1000}},
        {"attempts": 3, "backoff": Backoff.fixed("1s")},
    ),
    "backoff-bare": Same({"attempts": 3, "backoff": 1000}, {"attempts": 3, "backoff": "1s"}),
    "backoff-exponential": Same(
        {"attempts": 3, "backoff": {"type": "exponential", "delay": 500, "jitter": 0.5}},
        {"attempts": 3, "backoff": Backoff.exponential("500ms", jitter=0.5)},
    ),
    "backoff-named": Same(
        {"attempts": 3, "backoff": {"type": "linear", "delay": 1000}},
        {"attempts": 3, "backoff": Backoff.named("linear", "1s")},
    ),
    "removed": Same(
        {"removeOnComplete": True, "removeOnFail": False},
        {"remove_on_complete": True, "remove_on_fail": False},
    ),
    "kept": Same(
        {"removeOnComplete": 3, "removeOnFail": 100},
        {"remove_on_complete": 3, "remove_on_fail": 100},
    ),
    "telemetry": Same({"telemetry": {"metadata": "{}"}}, {"telemetry": "{}"}),
    "telemetry-omitted": Same(
        {"telemetry": {"metadata": "é", "omitContext": True}},
        {"telemetry": Telemetry("é", omit_context=True)},
    ),
    "telemetry-none": Same(
        {"telemetry": {"omitContext": True}}, {"telemetry": Telemetry(omit_context=True)}
    ),
    "kept-logs-and-traces": Same(
        {"keepLogs": 2, "stackTraceLimit": 1}, {"keep_logs": 2, "stack_trace_limit": 1}
    ),
    "size-limit": Same({"sizeLimit": 100}, {"size_limit": 100}, data={"é": "ü"}),
    "custom-id": Same({"jobId": "invoice-7"}, {"job_id": "invoice-7"}),
    "custom-id-twice": Same({"jobId": "invoice-7"}, {"job_id": "invoice-7"}, times=2),
}


@pytest.fixture
def queue(queue_name: str, redis_url: str) -> Iterator[Queue]:
    with Queue(queue_name, redis=redis_url) as opened:
        yield opened


def _add_by_both(case: Same, node: NodeDriver, node_queue: str, queue: Queue) -> None:
    given = {} if case.data is _NO_DATA else {"data": case.data}
    opts = case.opts | {"timestamp": AT_MS}
    for _ in range(case.times):
        node_id = node.call("add", queue=node_queue, name="echo", opts=opts, **given)
        job = queue.add("echo", **given, **case.kwargs, timestamp=AT_MS)
        assert job.id == node_id


@BOTH_MAJORS
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_25_26_27_add_leaves_the_same_keys_as_node(
    case: Same, node: NodeDriver, queue: Queue, redis_client: redis.Redis
):
    node_queue = f"{queue.name}-node"

    _add_by_both(case, node, node_queue, queue)

    assert queue_view(redis_client, queue.name) == queue_view(redis_client, node_queue)


@pytest.mark.parametrize("case", ["plain", "delayed", "prioritized", "lifo", "custom-id-twice"])
@pytest.mark.parametrize("state", ["paused", "maxed"])
def test_31_add_to_a_gated_queue_leaves_the_same_keys_as_node(
    case: str, state: str, node: NodeDriver, queue: Queue, redis_client: redis.Redis
):
    """No base marker while the queue is paused or at its global concurrency."""
    node_queue = f"{queue.name}-node"
    for name in (queue.name, node_queue):
        if state == "paused":
            node.call("pause", queue=name)
        else:
            node.call("setGlobalConcurrency", queue=name, concurrency=1)
            redis_client.lpush(f"bull:{name}:active", "busy")

    _add_by_both(CASES[case], node, node_queue, queue)

    assert queue_view(redis_client, queue.name) == queue_view(redis_client, node_queue)


def test_bulk_leaves_the_same_keys_as_node(
    node: NodeDriver, queue: Queue, redis_client: redis.Redis
):
    node_queue = f"{queue.name}-node"
    opts = [{}, {"delay": 1000}, {"priority": 2}, {"lifo": True}, {"jobId": "x"}, {"jobId": "x"}]
    kwargs = [
        {},
        {"delay": "1s"},
        {"priority": 2},
        {"lifo": True},
        {"job_id": "x"},
        {"job_id": "x"},
    ]

    node_ids = node.call(
        "addBulk",
        queue=node_queue,
        jobs=[
            {"name": "echo", "data": n, "opts": o | {"timestamp": AT_MS}}
            for n, o in enumerate(opts)
        ],
    )
    jobs = queue.add_bulk(
        NewJob("echo", n, timestamp=AT_MS, **options) for n, options in enumerate(kwargs)
    )

    assert [job.id for job in jobs] == node_ids
    assert queue_view(redis_client, queue.name) == queue_view(redis_client, node_queue)


@pytest.mark.parametrize(
    ("options", "state"),
    [
        ({}, "waiting"),
        ({"lifo": True}, "waiting"),
        ({"priority": 1}, "prioritized"),
        ({"delay": "1h"}, "delayed"),
    ],
)
def test_node_sees_the_state_of_an_added_job(
    options: dict[str, Any], state: str, node: NodeDriver, queue: Queue
):
    job = queue.add("echo", {"n": 1}, attempts=3, **options)

    seen = node.call("getJob", queue=queue.name, id=job.id)

    assert seen["state"] == job.state() == state
    assert (seen["name"], seen["data"], seen["opts"]["attempts"]) == ("echo", {"n": 1}, 3)
    assert (seen["attemptsMade"], seen["attemptsStarted"], seen["stalledCounter"]) == (0, 0, 0)


def test_74_counts_are_nodes_counts(node: NodeDriver, queue: Queue):
    queue.add_bulk([NewJob("echo"), NewJob("echo"), NewJob("echo", priority=1)])
    queue.add("echo", delay="1h")
    queue.add("fail", lifo=True)
    node.call("startWorker", queue=queue.name, options={"concurrency": 1})
    node.call("listen", queue=queue.name)
    node.call("heard", queue=queue.name, of="failed")
    node.call("heard", queue=queue.name, of="completed", count=3)
    node.call("stopWorker")
    queue.add("echo")

    expected = node.call("counts", queue=queue.name)

    assert {name: queue.counts()[name] for name in expected} == expected
    assert (expected["completed"], expected["failed"], expected["waiting"]) == (3, 1, 1)


@pytest.mark.parametrize("job_id", ["12", "0", "0:x", "a:b", "a:b:c", "meta", "wait", "events", ""])
def test_30_custom_id_that_would_collide_is_refused(
    job_id: str, queue: Queue, redis_client: redis.Redis
):
    with unchanged_keyspace(redis_client), pytest.raises(InvalidInput):
        queue.add("echo", job_id=job_id)


@pytest.mark.parametrize("priority", [1.5, 2_097_152, -1, "1"])
def test_30_priority_out_of_range_is_refused(
    priority: Any, queue: Queue, redis_client: redis.Redis
):
    with unchanged_keyspace(redis_client), pytest.raises(InvalidInput, match="priority"):
        queue.add("echo", priority=priority)


@pytest.mark.parametrize("data", [float("nan"), {"a": object()}, {1, 2}, "\ud800"])
def test_data_that_is_not_json_is_refused(data: Any, queue: Queue, redis_client: redis.Redis):
    with unchanged_keyspace(redis_client), pytest.raises(InvalidInput):
        queue.add("echo", data)


def test_30_data_over_the_limit_is_refused(queue: Queue, redis_client: redis.Redis):
    with unchanged_keyspace(redis_client), pytest.raises(InvalidInput):
        queue.add("echo", "x" * MAX_DATA_BYTES)


def test_30_jobs_own_size_limit_counts_bytes_as_node_does(
    node: NodeDriver, queue: Queue, redis_client: redis.Redis
):
    data, size_bytes = {"a": "ééé"}, 14
    job = queue.add("echo", data, size_limit=size_bytes)
    opts = {"sizeLimit": size_bytes}
    assert node.call("add", queue=queue.name, name="echo", data=data, opts=opts) != job.id

    with unchanged_keyspace(redis_client):
        with pytest.raises(InvalidInput):
            queue.add("echo", data, size_limit=size_bytes - 1)
        opts = {"sizeLimit": size_bytes - 1}
        with pytest.raises(NodeError, match="exceeds the limit"):
            node.call("add", queue=queue.name, name="echo", data=data, opts=opts)


def test_30_queue_name_with_a_colon_is_refused_with_a_suggestion(redis_url: str):
    with pytest.raises(InvalidInput, match="image-optimize"):
        Queue("image:optimize", redis=redis_url)


def test_bulk_with_one_bad_job_writes_nothing(queue: Queue, redis_client: redis.Redis):
    with unchanged_keyspace(redis_client), pytest.raises(InvalidInput):
        queue.add_bulk([NewJob("echo"), NewJob("echo", job_id="12")])
