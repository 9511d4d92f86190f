"""BullMQ's own limits bind a mixed fleet: rates, concurrency, holds and numbers of starts."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.interop.compare import events_of
from tests.support.waiting import until
from toril import JobFailed, Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from tests.interop.node import NodeDriver
    from tests.support.toril import TorilRun

JOBS, MAX_STARTS, WINDOW_MS = 40, 5, 300
CLOCK_MS = 2
"""Node notes the start by its own clock before it asks Redis; the window begins there."""


@pytest.fixture
def queue(queue_name: str, redis_url: str) -> Iterator[Queue]:
    with Queue(queue_name, redis=redis_url) as opened:
        yield opened


def starts_of(client: redis.Redis, queue: str, ids: list[str]) -> list[tuple[int, str]]:
    """When each job started, and by whom, in order."""
    found = [client.hmget(f"bull:{queue}:{id_}", "processedOn", "pb") for id_ in ids]
    return sorted((int(at), (by or b"").decode()) for at, by in found)


@pytest.mark.timeout(120)
def test_43_fleet_never_starts_more_than_the_limit_per_window(
    node: NodeDriver,
    queue_name: str,
    toril_run: Callable[..., TorilRun],
    redis_client: redis.Redis,
) -> None:
    """A window begins with its first start and admits `max`; so start number n x max can only
    come n windows after the first. Node's worker has its own limiter besides.
    """
    limit = [MAX_STARTS, WINDOW_MS]
    node.call("onQueue", queue=queue_name, act="setGlobalRateLimit", args=limit)
    node.call("pause", queue=queue_name)
    jobs = [{"name": "slow", "data": {"ms": 20}} for _ in range(JOBS)]
    ids = node.call("addBulk", queue=queue_name, jobs=jobs)
    for run in [toril_run("--concurrency", "3") for _ in range(3)]:
        run.ready()
    limiter = {"max": MAX_STARTS, "duration": WINDOW_MS}
    node.call("startWorker", queue=queue_name, options={"concurrency": 3, "limiter": limiter})
    node.call("resume", queue=queue_name)

    until(lambda: redis_client.zcard(f"bull:{queue_name}:completed") == JOBS, timeout_s=60)

    starts = starts_of(redis_client, queue_name, ids)
    first_ms = starts[0][0]
    for window, (at_ms, _by) in enumerate(starts[::MAX_STARTS]):
        assert at_ms - first_ms >= window * WINDOW_MS - CLOCK_MS
    workers = {by for _at, by in starts}
    assert "node" in workers
    assert len(workers) >= 3, "too few took part to prove anything"
    took_ms = starts[-1][0] - first_ms
    assert took_ms < 3 * WINDOW_MS * JOBS / MAX_STARTS, "the limit starves the queue"


@pytest.mark.timeout(120)
def test_limiter_of_a_node_worker_binds_what_it_counts_with(
    node: NodeDriver, queue_name: str, redis_client: redis.Redis
) -> None:
    """The control: Node alone under the same limit keeps the same bound, so it is BullMQ's."""
    limit = [MAX_STARTS, WINDOW_MS]
    node.call("onQueue", queue=queue_name, act="setGlobalRateLimit", args=limit)
    jobs = [{"name": "nothing", "data": {}} for _ in range(4 * MAX_STARTS)]
    ids = node.call("addBulk", queue=queue_name, jobs=jobs)
    node.call("startWorker", queue=queue_name, options={"concurrency": 3})
    until(lambda: redis_client.zcard(f"bull:{queue_name}:completed") == len(ids), timeout_s=60)
    starts = starts_of(redis_client, queue_name, ids)
    for window, (at_ms, _by) in enumerate(starts[::MAX_STARTS]):
        assert at_ms - starts[0][0] >= window * WINDOW_MS - CLOCK_MS


def test_44_limit_that_node_sets_spaces_torils_starts(
    node: NodeDriver, queue: Queue, toril_run: Callable[..., TorilRun], redis_client: redis.Redis
) -> None:
    node.call("onQueue", queue=queue.name, act="setGlobalRateLimit", args=[1, 500])
    ids = [queue.add("echo").id for _ in range(4)]

    assert toril_run("--concurrency", "4", "--until-empty").exit_code() == 0

    starts = [at_ms for at_ms, _by in starts_of(redis_client, queue.name, ids)]
    gaps_ms = [later - sooner for sooner, later in pairwise(starts)]
    assert all(500 - CLOCK_MS <= gap_ms < 4000 for gap_ms in gaps_ms)


def test_45_job_that_holds_the_queue_goes_back_to_the_front(
    node: NodeDriver, queue: Queue, toril_run: Callable[..., TorilRun], redis_client: redis.Redis
) -> None:
    """It runs next once the hold is over, has lost no attempt, and was started twice."""
    first, second = queue.add("hold-once", {"ms": 400}), queue.add("echo")

    assert toril_run("--concurrency", "1", "--until-empty").exit_code() == 0

    started = [one for one in events_of(redis_client, queue.name) if one["event"] == "active"]
    assert [one["jobId"] for one in started] == [first.id, first.id, second.id]
    job = node.call("getJob", queue=queue.name, id=first.id)
    assert (job["returnvalue"], job["attemptsMade"], job["attemptsStarted"]) == (
        "let through",
        1,
        2,
    )
    assert job["processedOn"] - job["timestamp"] >= 400


@pytest.mark.timeout(120)
def test_42_no_more_jobs_run_than_the_global_concurrency_allows(
    node: NodeDriver, queue: Queue, toril_run: Callable[..., TorilRun], redis_client: redis.Redis
) -> None:
    """Four workers of five slots each; the stream tells how many ran at a time."""
    node.call("setGlobalConcurrency", queue=queue.name, concurrency=2)
    queue.pause()
    jobs = [queue.add("slow", {"ms": 30}) for _ in range(40)]
    for run in [toril_run("--concurrency", "5") for _ in range(2)]:
        run.ready()
    for number in range(2):
        name, options = f"node-{number}", {"concurrency": 5}
        node.call("startWorker", queue=queue.name, name=name, options=options)
    queue.resume()

    until(lambda: redis_client.zcard(f"bull:{queue.name}:completed") == len(jobs), timeout_s=60)

    running, most = 0, 0
    for event in events_of(redis_client, queue.name):
        running += {"active": 1, "completed": -1}.get(event["event"], 0)
        most = max(most, running)
    assert (running, most) == (0, 2)


def test_50_job_is_started_as_often_as_the_worker_allows(
    node: NodeDriver, queue: Queue, toril_run: Callable[..., TorilRun]
) -> None:
    """One that fails does so with its own error; one that asks for time, at its start."""
    fails = queue.add("fail", {"message": "its own"}, attempts=10)
    asks = queue.add("ask-for-time", {"ms": 0}, attempts=10)

    assert toril_run("--max-started-attempts", "2", "--until-empty").exit_code() == 0

    with pytest.raises(JobFailed, match="its own"):
        fails.wait()
    with pytest.raises(JobFailed, match="job started more than allowable limit"):
        asks.wait()
    counted = [
        (job["attemptsMade"], job["attemptsStarted"])
        for job in (node.call("getJob", queue=queue.name, id=one.id) for one in (fails, asks))
    ]
    assert counted == [(2, 2), (1, 3)]
