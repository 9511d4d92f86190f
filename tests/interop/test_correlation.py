"""A correlation id goes through BullMQ: given by its producers, kept by its workers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.interop.conftest import BOTH_MAJORS
from toril import JobFailed, Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from tests.interop.node import NodeDriver
    from tests.support.toril import TorilRun


@pytest.fixture
def queue(queue_name: str, redis_url: str) -> Iterator[Queue]:
    with Queue(queue_name, redis=redis_url) as opened:
        yield opened


@BOTH_MAJORS
def test_what_a_node_producer_gives_stands_in_the_log(
    node: NodeDriver, queue: Queue, toril_run: Callable[..., TorilRun]
):
    job_id = node.call(
        "add", queue=queue.name, name="echo", data={}, opts={"correlationId": "order-7"}
    )
    toril = toril_run("--until-empty")
    toril.exit_code()

    (settled,) = toril.found("job-settled", job_id=job_id)
    assert settled["correlation_id"] == "order-7"


@BOTH_MAJORS
def test_a_node_worker_keeps_what_toril_stored(
    node: NodeDriver,
    queue: Queue,
    redis_client: redis.Redis,
    toril_run: Callable[..., TorilRun],
):
    """Through a retry, a failure, and a retry of the failed job."""
    node.call("startWorker", queue=queue.name, options={"drainDelay": 60})
    job = queue.add("fail", attempts=2, correlation_id="order-7")
    with pytest.raises(JobFailed):
        job.wait(timeout="20s")
    node.call("stopWorker")

    opts = json.loads(redis_client.hget(f"bull:{queue.name}:{job.id}", "opts"))
    assert opts["correlationId"] == "order-7"
    queue.get_job(job.id).retry()
    toril = toril_run("--until-empty")
    toril.exit_code()
    (settled,) = toril.found("job-settled", job_id=job.id)
    assert settled["correlation_id"] == "order-7"
