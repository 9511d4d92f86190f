"""Prefixes that hold colons and hash tags: producers, workers, flows, schedules and observers.

Keys are taken apart at their last colons, and all of a flow's queues share one tag. What stands
here once with each prefix is what the other tests prove with BullMQ's own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.compare import queue_view
from tests.interop.conftest import PROCESSORS
from tests.support.toril import TorilRun
from tests.support.waiting import until
from toril import CompletedEvent, Deduplication, Parent, Queue, QueueEvents

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from tests.interop.node import NodeDriver

AT_MS = 1_750_000_000_000

ADDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"jobId": "x"}, {"job_id": "x"}),
    ({"jobId": "x"}, {"job_id": "x"}),
    ({"delay": 60_000}, {"delay": "60s"}),
    ({"priority": 2}, {"priority": 2}),
    ({"deduplication": {"id": "d:e"}}, {"deduplication": Deduplication("d:e")}),
    ({"deduplication": {"id": "d:e"}}, {"deduplication": Deduplication("d:e")}),
]
"""Options in both languages."""


@pytest.fixture(params=["a:b", "{tag}", "a:{b}:c"])
def prefix(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def queue(queue_name: str, redis_url: str, prefix: str) -> Iterator[Queue]:
    with Queue(queue_name, redis=redis_url, prefix=prefix) as opened:
        yield opened


def test_81_jobs_are_added_as_node_adds_them(
    prefix: str, node: NodeDriver, queue: Queue, redis_client: redis.Redis
) -> None:
    """Children of a parent in another queue among them."""
    by_node = f"{queue.name}-node"
    for parents in (f"{queue.name}-parents", f"{by_node}-parents"):
        opts = {"jobId": "p", "timestamp": AT_MS}
        node.call("add", queue=parents, prefix=prefix, name="p", data={}, opts=opts)
    for opts, options in ADDS:
        opts |= {"timestamp": AT_MS}
        node.call("add", queue=by_node, prefix=prefix, name="echo", data=1, opts=opts)
        queue.add("echo", 1, timestamp=AT_MS, **options)
    parent = {"id": "p", "queue": f"{prefix}:{by_node}-parents"}
    opts = {"parent": parent, "timestamp": AT_MS}
    node.call("add", queue=by_node, prefix=prefix, name="echo", data=1, opts=opts)
    ours = Parent("p", f"{prefix}:{queue.name}-parents")
    queue.add("echo", 1, timestamp=AT_MS, parent=ours)

    for part in ("", "-parents"):
        theirs = _view(redis_client, f"{by_node}{part}", by_node, prefix)
        assert _view(redis_client, f"{queue.name}{part}", queue.name, prefix) == theirs


def _view(client: redis.Redis, queue: str, name: str, prefix: str) -> Any:
    view = json.dumps(queue_view(client, queue, prefix), default=sorted, sort_keys=True)
    return json.loads(view.replace(name, "NAME"))


def test_81_flows_schedules_and_failures_are_worked_by_both(
    prefix: str, node: NodeDriver, queue: Queue, redis_url: str, redis_client: redis.Redis
) -> None:
    parents = f"{queue.name}-parents"
    base, flags = f"{prefix}:{queue.name}:", ("--prefix", prefix, "--name", "toril-one")
    children = [_node(prefix, queue.name, "echo", f"c{number}") for number in range(2)]
    flow = _node(prefix, parents, "children-values", "p") | {"children": children}
    node.call("addFlow", flow=flow)
    repeat, template = {"every": 3_600_000}, {"name": "nothing", "data": {}}
    args = {"queue": queue.name, "prefix": prefix, "id": "s:t"}
    node.call("upsertScheduler", repeat=repeat, template=template, **args)
    queue.add("fail", {"message": "no"}, attempts=2, backoff="50ms", job_id="broken")
    queue.add("echo", "later", delay="200ms", priority=2, job_id="later")
    node.call("startWorker", queue=parents, prefix=prefix)
    with (
        QueueEvents(queue.name, redis=redis_url, prefix=prefix, last_event_id="0-0") as events,
        TorilRun(queue.name, PROCESSORS, redis_url, *flags) as run,
    ):
        run.ready()
        until(lambda: redis_client.zcard(f"{prefix}:{parents}:completed") == 1)
        until(lambda: redis_client.zcard(f"{base}completed") == 4)
        until(lambda: redis_client.zcard(f"{base}failed") == 1)
        theirs = node.call("workers", queue=queue.name, prefix=prefix)
        assert [one["rawname"].split(":w:")[1] for one in theirs] == ["toril-one"]
        assert [one.name for one in queue.get_workers()] == ["toril-one"]
        first = next(event for event in events if isinstance(event, CompletedEvent))

    parent = node.call("getJob", queue=parents, prefix=prefix, id="p")
    assert parent["returnvalue"] == {f"{base}c0": 1, f"{base}c1": 1}
    assert first.job_id in {"c0", "c1", "later"} or first.job_id.startswith("repeat:s:t:")
    broken = node.call("getJob", queue=queue.name, prefix=prefix, id="broken")
    assert (broken["state"], broken["failedReason"], broken["attemptsMade"]) == ("failed", "no", 2)
    (scheduler,) = node.call("schedulers", queue=queue.name, prefix=prefix)
    assert (scheduler["key"], scheduler["iterationCount"]) == ("s:t", 2)
    counts = queue.counts()
    assert node.call("counts", queue=queue.name, prefix=prefix) == {
        state: counts[state] for state in counts if state != "paused"
    }
    queue.obliterate(force=True)
    left = [key for key in redis_client.scan_iter() if key.startswith(base.encode())]
    assert all(b":toril:" in key for key in left)


def _node(prefix: str, queue: str, name: str, job_id: str) -> dict[str, Any]:
    job = {"name": name, "data": 1, "opts": {"jobId": job_id}}
    return job | {"queueName": queue, "prefix": prefix}
