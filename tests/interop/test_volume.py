"""Many jobs at a time, by producers and workers of both kinds; the numbers are the checklist's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.interop.conftest import BOTH_MAJORS_IN_FULL
from tests.support.waiting import until
from toril import NewJob, Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from tests.interop.node import NodeDriver
    from tests.support.toril import TorilRun

MANY = 10_000


@pytest.fixture
def queue(queue_name: str, redis_url: str) -> Iterator[Queue]:
    with Queue(queue_name, redis=redis_url) as opened:
        yield opened


def test_29_node_runs_every_job_of_a_large_bulk(
    node: NodeDriver, queue: Queue, redis_client: redis.Redis
) -> None:
    jobs = queue.add_bulk(NewJob("nothing") for _ in range(MANY))
    assert [int(job.id) for job in jobs] == list(range(1, MANY + 1))

    node.call("startWorker", queue=queue.name, options={"concurrency": 50})
    until(lambda: redis_client.zcard(f"bull:{queue.name}:completed") == MANY, timeout_s=50)

    started = [start["id"] for start in node.call("startedJobs")]
    assert started == [job.id for job in jobs]


@BOTH_MAJORS_IN_FULL
def test_34_two_producers_at_once_use_no_id_twice(
    node: NodeDriver, queue: Queue, redis_client: redis.Redis
) -> None:
    half = MANY // 2
    with ThreadPoolExecutor(1) as pool:
        ours = pool.submit(queue.add_bulk, [NewJob("nothing") for _ in range(half)])
        theirs = [{"name": "nothing", "data": {}}] * half
        by_node = node.call("addBulk", queue=queue.name, jobs=theirs)
    ids = {job.id for job in ours.result()} | set(by_node)

    assert ids == {str(number) for number in range(1, MANY + 1)}
    assert redis_client.llen(f"bull:{queue.name}:wait") == MANY


@pytest.mark.parametrize("jobs", [1000, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.timeout(120)
def test_80_stream_stays_near_the_length_that_was_set(
    jobs: int,
    node: NodeDriver,
    queue: Queue,
    toril_run: Callable[..., TorilRun],
    redis_client: redis.Redis,
) -> None:
    """Redis drops whole blocks of entries, so that "near" is up to some hundred more."""
    node.call("counts", queue=queue.name)
    redis_client.hset(f"bull:{queue.name}:meta", "opts.maxLenEvents", 100)
    queue.add_bulk(NewJob("nothing") for _ in range(jobs))
    with_adds = redis_client.xlen(f"bull:{queue.name}:events")

    assert toril_run("--concurrency", "2", "--until-empty").exit_code(timeout_s=100) == 0

    assert redis_client.zcard(f"bull:{queue.name}:completed") == jobs
    assert redis_client.xlen(f"bull:{queue.name}:events") <= 400
    assert with_adds <= 400
