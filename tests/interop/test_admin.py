"""Administration: toril's, key by key against what BullMQ's leaves, and operators' tools on both.

The numbers in names are those of the interop checklist.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.admin_cases import CASES, FAR_MS, Case, Side, ended_children, states
from tests.interop.compare import queue_view
from tests.interop.node import NodeError
from tests.support.keyspace import differences, snapshot
from tests.support.lane import RETURNED, START_MS, Lane
from tests.support.waiting import until
from toril import Deduplication, Queue, QueueEvents, QueueEventsProducer
from toril.runtime.retry import Complete

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from tests.interop.node import NodeDriver
    from tests.support.toril import TorilRun

CLOSE_MS = 60_000
"""Times this near to now are "now": the two calls cannot share a millisecond."""


@pytest.fixture
def queue(queue_name: str, redis_url: str) -> Iterator[Queue]:
    with Queue(queue_name, redis=redis_url) as opened:
        yield opened


def _by_node(node: NodeDriver, queue: str, case: Case) -> None:
    if case.on is None:
        node.call("onQueue", queue=queue, act=case.act, args=list(case.args))
    else:
        node.call("onJob", queue=queue, id=case.on, act=case.act, args=list(case.args))


def _by_toril(queue: Queue, case: Case) -> None:
    case.call(queue if case.on is None else queue.get_job(case.on))


def _left(client: redis.Redis, queue: str) -> Any:
    """The queue's keys, with its name and the times of the call put into words."""
    return _timeless(
        json.loads(json.dumps(queue_view(client, queue), default=sorted).replace(queue, "QUEUE"))
    )


def _timeless(value: Any) -> Any:
    match value:
        case dict():
            return {name: _timeless(one) for name, one in value.items()}
        case list():
            return [_timeless(one) for one in value]
        case str() if value.isdigit():
            return _timeless(float(value))
        case float() | int():
            at_ms = value / 4096 if value > 2**50 else value
            if abs(FAR_MS - at_ms - time.time() * 1000) < CLOSE_MS:
                return "until then"
            return "now" if abs(at_ms - time.time() * 1000) < CLOSE_MS else value
    return value


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_79_same_keys_as_node(
    case: Case, node: NodeDriver, queue: Queue, redis_client: redis.Redis
):
    sides = [Side(node, redis_client, name) for name in (f"{queue.name}-node", queue.name)]
    for side in sides:
        node.call("counts", queue=side.queue)
        case.prepare(side)

    _by_node(node, sides[0].queue, case)
    _by_toril(queue, case)

    by_node, by_toril = (_left(redis_client, side.queue) for side in sides)
    assert by_toril == by_node


def test_79_node_changes_jobs_that_toril_made(node: NodeDriver, queue: Queue):
    waits = queue.add("echo", {"n": 1}, job_id="waits")
    later = queue.add("echo", delay="1h", job_id="later")
    broken = queue.add("echo", job_id="broken")
    queue.cancel("broken")

    def on(job_id: str, act: str, *args: Any) -> None:
        node.call("onJob", queue=queue.name, id=job_id, act=act, args=list(args))

    on("waits", "updateData", {"n": 2})
    on("waits", "changePriority", {"priority": 7})
    on("later", "changeDelay", 1000)
    on("later", "promote")
    on("broken", "retry", "failed")

    assert (waits.state(), later.state(), broken.state()) == ("prioritized", "waiting", "waiting")
    found = queue.get_job("waits")
    assert found is not None
    assert (found.data, found.priority) == ({"n": 2}, 7)


def test_20_job_that_node_removes_is_never_run(
    node: NodeDriver, queue: Queue, toril_run: Callable[..., TorilRun]
):
    removed, kept = queue.add("echo", 1), queue.add("echo", 2)

    node.call("onJob", queue=queue.name, id=removed.id, act="remove")
    run = toril_run("--until-empty")

    assert run.exit_code() == 0
    assert (removed.state(), kept.state()) == ("gone", "completed")
    assert {job["jobId"] for job in _events(node, queue, "active")} == {kept.id}


def test_21_running_job_is_locked_for_node(
    node: NodeDriver, queue: Queue, toril_run: Callable[..., TorilRun]
):
    toril_run().ready()
    job = queue.add("slow", {"ms": 60_000})
    until(lambda: job.state() == "active")

    assert node.call("onQueue", queue=queue.name, act="remove", args=[job.id]) == 0
    with pytest.raises(NodeError, match="locked"):
        node.call("onJob", queue=queue.name, id=job.id, act="remove")
    assert job.state() == "active"


def test_31_jobs_added_to_a_paused_queue_run_in_order_once_it_is_resumed(
    node: NodeDriver, queue: Queue, redis_client: redis.Redis
):
    queue.pause()
    node.call("startWorker", queue=queue.name, options={"drainDelay": 60})
    jobs = [queue.add("nothing") for _ in range(3)]
    assert not redis_client.exists(f"bull:{queue.name}:marker")
    assert node.call("startedJobs") == []

    queue.resume()

    for job in jobs:
        job.wait("10s")
    assert [start["id"] for start in node.call("startedJobs")] == [job.id for job in jobs]


def test_46_node_pauses_and_resumes_a_toril_worker(
    node: NodeDriver, queue: Queue, toril_run: Callable[..., TorilRun]
):
    toril_run("--concurrency", "2").ready()
    node.call("onQueue", queue=queue.name, act="pause")
    waits, later = queue.add("echo", 1), queue.add("echo", 2, delay="200ms")

    until(lambda: later.state() == "waiting")
    assert waits.state() == "waiting"
    node.call("startWorker", queue=queue.name, options={"drainDelay": 60})
    node.call("onQueue", queue=queue.name, act="resume")

    assert (waits.wait("10s"), later.wait("10s")) == (1, 2)


@pytest.mark.parametrize("node", [5], indirect=True)
def test_47_what_node_5_has_set_aside_runs_after_toril_resumes(
    node: NodeDriver, queue: Queue, toril_run: Callable[..., TorilRun], redis_client: redis.Redis
):
    first = queue.add("echo", 1)
    node.call("onQueue", queue=queue.name, act="pause")
    second = node.call("add", queue=queue.name, name="echo", data=2)
    third = queue.add("echo", 3)
    run = toril_run("--concurrency", "1").ready()
    aside = redis_client.lrange(f"bull:{queue.name}:paused", 0, -1)

    assert aside == [second.encode(), first.id.encode()]
    assert queue.counts()["paused"] == 2
    queue.resume()

    assert third.wait("10s") == 3
    until(lambda: queue.counts()["completed"] == 3)
    ran = [event["jobId"] for event in _events(node, queue, "active")]
    assert ran == [first.id, second, third.id]
    assert run.process.poll() is None


def test_74_numbers_are_nodes(node: NodeDriver, queue: Queue):
    def ask(act: str, *args: Any) -> Any:
        return node.call("onQueue", queue=queue.name, act=act, args=list(args))

    for priority in (0, 0, 1, 5, 5):
        queue.add("echo", priority=priority)
    soon, _late = queue.add("echo", delay="10s"), queue.add("echo", delay="1h")
    due_ms = soon.timestamp_ms + 10_000

    assert ask("getJobCounts") == {state: queue.counts()[state] for state in ask("getJobCounts")}
    priorities = {
        int(name): count for name, count in ask("getCountsPerPriority", [0, 1, 5]).items()
    }
    assert queue.get_counts_per_priority([0, 1, 5]) == priorities == {0: 2, 1: 1, 5: 2}
    for before in (due_ms, due_ms + 1):
        assert queue.get_delayed_count(before) == ask("getDelayedCount", before)
    assert queue.get_delayed_count() == ask("getDelayedCount") == 2
    queue.set_global_concurrency(3)
    queue.set_global_rate_limit(4, "5s")
    assert (ask("getGlobalConcurrency"), ask("getGlobalRateLimit")) == (
        queue.get_global_concurrency(),
        {"max": 4, "duration": 5000},
    )
    queue.pause()
    meta = queue.get_meta()
    assert ask("getMeta") == {
        "paused": meta.is_paused,
        "concurrency": meta.concurrency,
        "max": meta.max,
        "duration": meta.duration_ms,
        "maxLenEvents": meta.max_events,
        "version": meta.version,
    }
    assert (ask("isPaused"), ask("isMaxed")) == (queue.is_paused(), queue.is_maxed())


@pytest.mark.parametrize("state", ["wait", "prioritized", "delayed", "completed", "failed"])
@pytest.mark.parametrize("ascending", [True, False])
def test_74_ranges_are_nodes(
    state: str, *, ascending: bool, node: NodeDriver, queue: Queue, redis_client: redis.Redis
):
    states(Side(node, redis_client, queue.name))
    for start, end in ((0, -1), (0, 1), (1, 2), (2, 50)):
        args = [[state], start, end, ascending]
        theirs = node.call("onQueue", queue=queue.name, act="getRanges", args=args)
        ours = [job.id for job in queue.get_jobs(state, start, end, ascending=ascending)]
        assert ours == theirs


def test_75_workers_of_both_kinds_are_listed_once(
    node: NodeDriver, queue: Queue, toril_run: Callable[..., TorilRun]
):
    runs = [toril_run().ready() for _ in range(2)]
    node.call("startWorker", queue=queue.name, name="node-one")

    ours = until(lambda: (found := queue.get_workers()) and len(found) == 3 and found)
    theirs = node.call("workers", queue=queue.name)

    assert {worker.raw_name for worker in ours} == {worker["rawname"] for worker in theirs}
    assert len(theirs) == 3
    names = {worker.name for worker in ours}
    assert "node-one" in names
    assert all(any(name.endswith(f"-{run.process.pid}") for name in names) for run in runs)


def test_76_metrics_are_the_same_for_both(
    node: NodeDriver, queue: Queue, redis_client: redis.Redis
):
    lane = Lane(redis_client, base=f"bull:{queue.name}:")
    for minute in (0, 0, 1, 1, 1, 4, 5):
        lane.now_ms = START_MS + minute * 60_000
        lane.wait(f"job-{minute}")
        (claim,) = lane.claim().claims
        lane.settle(claim, Complete(metrics_size=10), RETURNED)

    theirs = node.call("onQueue", queue=queue.name, act="getMetrics", args=["completed"])

    ours = queue.get_metrics("completed")
    assert theirs["meta"] == {
        "count": ours.count,
        "prevTS": ours.prev_ms,
        "prevCount": ours.prev_count,
    }
    assert (theirs["data"], theirs["count"]) == (ours.data, ours.points)
    assert (ours.count, ours.points) == (7, 5)
    node_page = node.call("onQueue", queue=queue.name, act="getMetrics", args=["completed", 1, 3])
    assert queue.get_metrics("completed", 1, 3).data == node_page["data"]


@pytest.mark.parametrize("act", ["clean", "drain", "obliterate"])
def test_77_node_leaves_no_key_of_a_queue_that_toril_worked(
    act: str,
    node: NodeDriver,
    queue: Queue,
    toril_run: Callable[..., TorilRun],
    redis_client: redis.Redis,
):
    """Left are the queue's own keys, and what expires by itself."""
    for number in range(3):
        queue.add("log")
        queue.add("fail", {"message": str(number)}, attempts=2)
    assert toril_run("--until-empty").exit_code() == 0
    queue.add("echo", priority=3)
    queue.add("echo", delay="1h")
    waits = queue.add("echo")
    waits.log("line")

    if act == "drain":
        node.call("onQueue", queue=queue.name, act="drain", args=[True])
    for state in ("completed", "failed", "wait", "delayed", "prioritized"):
        if act != "obliterate":
            node.call("onQueue", queue=queue.name, act="clean", args=[0, 0, state])
    if act == "obliterate":
        node.call("onQueue", queue=queue.name, act="obliterate", args=[{"force": True}])

    base = f"bull:{queue.name}:".encode()
    left = {key.removeprefix(base) for key in redis_client.scan_iter()}
    expiring = {name for name in left if redis_client.pttl(base + name) > 0}
    own = set() if act == "obliterate" else {b"id", b"meta", b"events", b"marker", b"pc"}
    assert left - expiring <= own


def test_78_node_finds_no_orphan_after_a_mixed_run(
    node: NodeDriver, queue: Queue, toril_run: Callable[..., TorilRun], redis_client: redis.Redis
):
    queue.set_rate_limit(1000)
    run = toril_run("--concurrency", "2").ready()
    node.call("startWorker", queue=queue.name)
    jobs = [queue.add(name, {"n": 1}) for name in ("echo", "log", "nothing") for _ in range(5)]
    for job in jobs:
        job.wait("20s")
    queue.add("echo", delay="1h").log("line")
    run.stop()
    node.call("stopWorker")
    assert run.exit_code() == 0

    node.call("counts", queue=queue.name)
    before = snapshot(redis_client)
    assert node.call("onQueue", queue=queue.name, act="removeOrphanedJobs") == 0
    assert differences(before, snapshot(redis_client)) == {}


def test_metrics_text_is_nodes(node: NodeDriver, queue: Queue, redis_client: redis.Redis):
    """Prometheus' text format, line by line."""
    states(Side(node, redis_client, queue.name))
    for state, count in (("completed", 7), ("failed", 2)):
        redis_client.hset(f"bull:{queue.name}:metrics:{state}", "count", count)
    labels = {"env": 'a "b"\\c\nd', "zone": "ü"}

    for args in ([], [labels]):
        theirs = node.call("onQueue", queue=queue.name, act="exportPrometheusMetrics", args=args)
        assert queue.export_prometheus_metrics(*args) == theirs


def test_children_are_listed_as_node_lists_them(
    node: NodeDriver, queue: Queue, redis_client: redis.Redis
):
    ended_children(Side(node, redis_client, queue.name))

    def ask(act: str, *args: Any) -> Any:
        return node.call("onJob", queue=queue.name, id="parent", act=act, args=list(args))

    parent = queue.get_job("parent")
    found, theirs = parent.get_dependencies(), ask("getDependencies")
    assert theirs == {
        "processed": found.processed,
        "unprocessed": found.unprocessed,
        "ignored": found.ignored,
        "failed": found.failed,
    }
    assert all(theirs.values())
    assert parent.get_dependencies_count() == ask("getDependenciesCount")


def test_owner_of_a_deduplication_id_is_nodes(node: NodeDriver, queue: Queue):
    job = queue.add("echo", deduplication=Deduplication("d"))
    for name, owner in (("d", job.id), ("other", None)):
        theirs = node.call("onQueue", queue=queue.name, act="getDeduplicationJobId", args=[name])
        assert queue.get_deduplication_job_id(name) == theirs == owner


def test_published_event_reaches_node_and_theirs_reaches_us(
    node: NodeDriver, queue: Queue, redis_url: str
):
    fields = {"jobId": "7", "amount": 12.5, "note": "ü"}
    with (
        QueueEventsProducer(queue.name, redis=redis_url) as producer,
        QueueEvents(queue.name, redis=redis_url) as events,
    ):
        node.call("publishEvent", queue=queue.name, event={"eventName": "paid", **fields})
        producer.publish_event("paid", fields)
        ours, theirs = next(events), next(events)
    assert (ours.name, ours.fields) == (theirs.name, theirs.fields)
    node.call("listen", queue=queue.name, events=["paid"])
    heard = node.call("heard", queue=queue.name, of="paid", count=2)
    assert heard["seen"][0] == heard["seen"][1]
    assert heard["seen"][1]["note"] == "ü"
    assert heard["errors"] == []


def _events(node: NodeDriver, queue: Queue, name: str) -> list[dict[str, Any]]:
    node.call("listen", queue=queue.name)
    seen = node.call("heard", queue=queue.name, of=name)["seen"]
    return [event for event in seen if event["event"] == name]
