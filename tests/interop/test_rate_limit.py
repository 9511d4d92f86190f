"""BullMQ's own rate limit binds a mixed fleet: three supervisors and a Node worker on one queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from tests.interop.node import NodeDriver
    from tests.support.toril import TorilRun

JOBS, MAX_STARTS, WINDOW_MS = 40, 5, 300
CLOCK_MS = 2
"""Node notes the start by its own clock before it asks Redis; the window begins there."""


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
    come n windows after the first.
    """
    limit = [MAX_STARTS, WINDOW_MS]
    node.call("onQueue", queue=queue_name, act="setGlobalRateLimit", args=limit)
    node.call("pause", queue=queue_name)
    jobs = [{"name": "slow", "data": {"ms": 20}} for _ in range(JOBS)]
    ids = node.call("addBulk", queue=queue_name, jobs=jobs)
    for run in [toril_run("--concurrency", "3") for _ in range(3)]:
        run.ready()
    node.call("startWorker", queue=queue_name, options={"concurrency": 3})
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
