"""A trace goes with its job, from BullMQ to a Python processor, on to its jobs, and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.conftest import BOTH_MAJORS
from toril import Deduplication, Queue, Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from tests.interop.node import NodeDriver
    from tests.support.toril import TorilRun

CARRIER = json.dumps({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
TRACED = {"metadata": CARRIER, "omitContext": False}


@pytest.fixture
def queue(queue_name: str, redis_url: str) -> Iterator[Queue]:
    with Queue(queue_name, redis=redis_url) as opened:
        yield opened


@BOTH_MAJORS
def test_processor_gets_what_node_stored(
    node: NodeDriver, queue: Queue, toril_run: Callable[..., TorilRun]
):
    given = [TRACED, TRACED | {"omitContext": True}, {"metadata": CARRIER}, None]
    ids = [
        node.call("add", queue=queue.name, name="telemetry", data={}, opts={"telemetry": one})
        if one
        else node.call("add", queue=queue.name, name="telemetry", data={})
        for one in given
    ]
    toril_run("--until-empty").exit_code()

    found = [queue.get_job(job_id).returnvalue for job_id in ids]
    assert found == [TRACED, TRACED | {"omitContext": True}, TRACED, None]


@BOTH_MAJORS
def test_node_worker_gets_what_toril_stored(node: NodeDriver, queue: Queue):
    node.call("startWorker", queue=queue.name, options={"drainDelay": 60})

    plain = queue.add("telemetry", telemetry=CARRIER)
    omitted = queue.add("telemetry", telemetry=Telemetry(CARRIER, omit_context=True))

    assert plain.wait(timeout="10s")["metadata"] == CARRIER
    assert omitted.wait(timeout="10s") == TRACED | {"omitContext": True}


def test_jobs_that_a_job_adds_carry_its_trace(
    node: NodeDriver, queue: Queue, toril_run: Callable[..., TorilRun]
):
    """Unless they are given another, or it is not to be handed on."""
    options: list[dict[str, Any]] = [{}, {"telemetry": "other"}, {"telemetry": None}]
    for telemetry in (TRACED, TRACED | {"omitContext": True}):
        node.call(
            "add",
            queue=queue.name,
            name="add-traced",
            data=options,
            opts={"telemetry": telemetry, "jobId": f"omits-{telemetry['omitContext']}"},
        )
    toril_run("--until-empty").exit_code()

    def carried(job_id: str) -> list[Any]:
        return [queue.get_job(one).returnvalue for one in queue.get_job(job_id).returnvalue]

    other = {"metadata": "other", "omitContext": False}
    assert carried("omits-False") == [TRACED, other, None]
    assert carried("omits-True") == [None, other, None]


def test_a_schedule_carries_its_trace_on(
    node: NodeDriver,
    queue: Queue,
    toril_run: Callable[..., TorilRun],
    redis_client: redis.Redis,
):
    template = {
        "name": "telemetry",
        "data": {},
        "opts": {"telemetry": TRACED | {"omitContext": True}},
    }
    node.call("upsertScheduler", queue=queue.name, id="s", repeat={"every": 500}, template=template)
    worker = toril_run("--concurrency", "1")
    settled = worker.wait_for("job-settled", count=3)

    for event in settled[:3]:
        assert queue.get_job(event["job_id"]).returnvalue == TRACED | {"omitContext": True}
    (waiting,) = redis_client.zrange(f"bull:{queue.name}:delayed", 0, -1)
    opts = json.loads(redis_client.hget(f"bull:{queue.name}:{waiting.decode()}", "opts"))
    assert (opts["tm"], opts["omc"]) == (CARRIER, True)


def test_the_last_job_of_its_like_keeps_its_own_trace(
    queue: Queue, toril_run: Callable[..., TorilRun]
):
    """It waits outside of any job while its like runs."""
    once = Deduplication("once", keep_last_if_active=True)
    worker = toril_run("--concurrency", "1")
    running = queue.add("slow", {"ms": 1000}, deduplication=once, telemetry="first")
    worker.wait_until(running.state, lambda state: state == "active", 10)
    queue.add("telemetry", deduplication=once, telemetry=Telemetry("last", omit_context=True))

    last = worker.wait_for("job-settled", name="telemetry")[0]["job_id"]
    assert queue.get_job(last).returnvalue == {"metadata": "last", "omitContext": True}
