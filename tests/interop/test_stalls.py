"""Workers of both kinds that vanish, and who takes their jobs over; one sweep for all."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.compare import events_of
from tests.interop.conftest import BOTH_MAJORS_IN_FULL
from tests.interop.node import NodeDriver
from tests.support.waiting import until
from toril import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from tests.support.servers import RedisServer
    from tests.support.toril import TorilRun

BRIEF = ("--lock-duration", "1s", "--stalled-interval", "200ms")
NODE_BRIEF = {"stalledInterval": 200, "lockDuration": 1000}
"""For every worker here: a sweep keeps the others from sweeping for its own interval."""

STALLED_OUT = "job stalled more than allowable limit"


@pytest.fixture
def mortal_node(
    node: NodeDriver, redis_server: RedisServer, request: pytest.FixtureRequest
) -> Iterator[NodeDriver]:
    """A second Node process of the same BullMQ, which the test may kill."""
    major = request.node.callspec.params.get("node", 6)
    assert node
    with NodeDriver(redis_server.socket_path, major) as driver:
        yield driver


@pytest.fixture
def queue(queue_name: str, redis_url: str) -> Iterator[Queue]:
    with Queue(queue_name, redis=redis_url) as opened:
        yield opened


def active(client: redis.Redis, queue: str) -> bool:
    return client.llen(f"bull:{queue}:active") == 1


def names(client: redis.Redis, queue: str) -> list[str]:
    return [event["event"] for event in events_of(client, queue)]


def blocked(client: redis.Redis) -> int:
    """How many workers wait for a marker."""
    found = [one for one in client.client_list() if one["cmd"] == "bzpopmin"]
    return len([one for one in found if "b" in one["flags"]])


@BOTH_MAJORS_IN_FULL
def test_36_job_of_a_killed_toril_is_recovered_by_node(
    node: NodeDriver, queue_name: str, toril_run: Callable[..., TorilRun], redis_client: redis.Redis
) -> None:
    run = toril_run(*BRIEF).ready()
    job_id = node.call("add", queue=queue_name, name="slow", data={"ms": 300})
    until(lambda: active(redis_client, queue_name))

    run.process.kill()
    node.call("startWorker", queue=queue_name, options=NODE_BRIEF)

    assert node.call("waitUntilFinished", queue=queue_name, id=job_id) == "slept"
    job = node.call("getJob", queue=queue_name, id=job_id)
    assert (job["stalledCounter"], job["attemptsStarted"], job["attemptsMade"]) == (1, 2, 1)
    assert names(redis_client, queue_name).count("stalled") == 1


@BOTH_MAJORS_IN_FULL
def test_37_job_of_a_killed_node_is_recovered_by_toril(
    node: NodeDriver,
    queue_name: str,
    toril_run: Callable[..., TorilRun],
    redis_client: redis.Redis,
    mortal_node: NodeDriver,
) -> None:
    mortal_node.call("startWorker", queue=queue_name, options=NODE_BRIEF)
    job_id = node.call("add", queue=queue_name, name="slow", data={"ms": 300})
    until(lambda: active(redis_client, queue_name))
    mortal_node.kill()

    toril_run(*BRIEF).ready()

    assert node.call("waitUntilFinished", queue=queue_name, id=job_id) == "slept"
    job = node.call("getJob", queue=queue_name, id=job_id)
    assert (job["stalledCounter"], job["attemptsStarted"], job["attemptsMade"]) == (1, 2, 1)
    assert names(redis_client, queue_name).count("stalled") == 1


STALLS: dict[str, Any] = {"name": "slow", "data": {"ms": 60_000}, "opts": {"attempts": 3}}


def _failed_without_running(node: NodeDriver, client: redis.Redis, queue: str) -> None:
    until(lambda: client.zcard(f"bull:{queue}:failed") == 1)
    (job_id,) = node.call("jobs", queue=queue, types=["failed"])
    failed = node.call("getJob", queue=queue, id=job_id)
    assert (failed["failedReason"], failed["stalledCounter"]) == (STALLED_OUT, 1)
    assert failed["attemptsStarted"] == 2
    assert not client.hexists(f"bull:{queue}:{job_id}", "defa")


def test_38_job_that_stalled_under_toril_is_failed_by_node(
    node: NodeDriver, queue_name: str, toril_run: Callable[..., TorilRun], redis_client: redis.Redis
) -> None:
    run = toril_run(*BRIEF).ready()
    node.call("add", queue=queue_name, **STALLS)
    until(lambda: active(redis_client, queue_name))
    run.process.kill()
    node.call("startWorker", queue=queue_name, options=NODE_BRIEF | {"maxStalledCount": 0})

    _failed_without_running(node, redis_client, queue_name)
    assert node.call("startedJobs") == []


def test_38_job_that_stalled_under_node_is_failed_by_toril(
    node: NodeDriver,
    queue_name: str,
    toril_run: Callable[..., TorilRun],
    redis_client: redis.Redis,
    mortal_node: NodeDriver,
) -> None:
    mortal_node.call("startWorker", queue=queue_name, options=NODE_BRIEF)
    node.call("add", queue=queue_name, **STALLS)
    until(lambda: active(redis_client, queue_name))
    mortal_node.kill()
    run = toril_run(*BRIEF, "--max-stalled", "0").ready()

    _failed_without_running(node, redis_client, queue_name)
    (settled,) = run.wait_for("job-settled")
    assert settled["verdict"] == "deferred-failure"


def test_38_reason_that_node_left_fails_the_job_without_running(
    node: NodeDriver, queue_name: str, toril_run: Callable[..., TorilRun], redis_client: redis.Redis
) -> None:
    job_id = node.call("add", queue=queue_name, name="echo", data=1)
    redis_client.hset(f"bull:{queue_name}:{job_id}", "defa", STALLED_OUT)

    assert toril_run("--until-empty").exit_code() == 0

    job = node.call("getJob", queue=queue_name, id=job_id)
    assert (job["state"], job["failedReason"]) == ("failed", STALLED_OUT)
    assert not redis_client.hexists(f"bull:{queue_name}:{job_id}", "defa")


def test_39_job_longer_than_three_locks_never_stalls(
    node: NodeDriver, queue_name: str, toril_run: Callable[..., TorilRun], redis_client: redis.Redis
) -> None:
    toril_run(*BRIEF).ready()
    job_id = node.call("add", queue=queue_name, name="slow", data={"ms": 3100})
    until(lambda: active(redis_client, queue_name))
    node.call("startWorker", queue=queue_name, options=NODE_BRIEF)

    assert node.call("waitUntilFinished", queue=queue_name, id=job_id) == "slept"

    job = node.call("getJob", queue=queue_name, id=job_id)
    assert (job["stalledCounter"], job["attemptsStarted"]) == (0, 1)
    assert "stalled" not in names(redis_client, queue_name)
    assert node.call("startedJobs") == []


def test_40_result_of_a_job_whose_lock_was_lost_is_refused(
    node: NodeDriver, queue_name: str, toril_run: Callable[..., TorilRun], redis_client: redis.Redis
) -> None:
    """Somebody else holds the lock for a moment; then the job is recovered, and completes once."""
    run = toril_run(*BRIEF).ready()
    job_id = node.call("add", queue=queue_name, name="slow", data={"ms": 1500})
    until(lambda: active(redis_client, queue_name))

    redis_client.set(f"bull:{queue_name}:{job_id}:lock", "somebody-else")
    run.wait_for("lock-lost")
    run.process.kill()
    redis_client.delete(f"bull:{queue_name}:{job_id}:lock")
    node.call("startWorker", queue=queue_name, options=NODE_BRIEF)

    assert node.call("waitUntilFinished", queue=queue_name, id=job_id) == "slept"
    seen = names(redis_client, queue_name)
    assert (seen.count("completed"), seen.count("stalled"), seen.count("failed")) == (1, 1, 0)
    assert run.found("job-settled") == []


def test_40_lock_that_is_only_gone_is_retaken(
    node: NodeDriver, queue_name: str, toril_run: Callable[..., TorilRun], redis_client: redis.Redis
) -> None:
    """Nobody has started the job since: its result counts, and nobody runs it again."""
    run = toril_run(*BRIEF).ready()
    job_id = node.call("add", queue=queue_name, name="slow", data={"ms": 1000})
    until(lambda: active(redis_client, queue_name))

    redis_client.delete(f"bull:{queue_name}:{job_id}:lock")

    assert node.call("waitUntilFinished", queue=queue_name, id=job_id) == "slept"
    job = node.call("getJob", queue=queue_name, id=job_id)
    assert (job["stalledCounter"], job["attemptsStarted"]) == (0, 1)
    assert run.found("lock-lost") == []


@BOTH_MAJORS_IN_FULL
def test_41_four_workers_make_one_sweep_a_period(
    node: NodeDriver, queue_name: str, toril_run: Callable[..., TorilRun], redis_client: redis.Redis
) -> None:
    """Each leaves a key that lives for a period, whose age tells when that was."""
    period_ms, sweeps = 300, 6
    interval = ("--stalled-interval", f"{period_ms}ms")
    runs = [toril_run("--concurrency", "1", *interval) for _ in range(2)]
    for number in range(2):
        options = {"stalledInterval": period_ms}
        node.call("startWorker", queue=queue_name, name=f"node-{number}", options=options)
    for run in runs:
        run.ready()
    key, seen = f"bull:{queue_name}:stalled-check", dict[bytes, float]()

    def look() -> bool:
        pipeline = redis_client.pipeline(transaction=True)
        left, ttl_ms, (now_s, now_us) = pipeline.get(key).pttl(key).time().execute()
        if left is not None:
            seen.setdefault(left, now_s * 1000 + now_us / 1000 - (period_ms - ttl_ms))
        return len(seen) == sweeps

    until(look)
    gaps_ms = [later - sooner for sooner, later in pairwise(seen.values())]
    assert min(gaps_ms) > period_ms - 5


@pytest.mark.parametrize("killed", ["node", pytest.param("toril", marks=pytest.mark.slow)])
def test_49_delayed_job_starts_though_a_worker_that_waited_for_it_died(
    queue: Queue,
    toril_run: Callable[..., TorilRun],
    redis_client: redis.Redis,
    mortal_node: NodeDriver,
    killed: str,
) -> None:
    """Whoever took the marker has taken its duty with it; the other one polls."""
    poll_ms = {"node": 1000, "toril": 5000}
    run = toril_run("--concurrency", "1", "--name", "toril").ready()
    options = {"drainDelay": poll_ms["node"] / 1000}
    mortal_node.call("startWorker", queue=queue.name, name="node", options=options)
    until(lambda: blocked(redis_client) == 2)
    job = queue.add("echo", 1, delay="800ms")
    if killed == "node":
        mortal_node.kill()
    else:
        run.process.kill()
    assert job.wait("20s") == 1
    ended = queue.get_job(job.id)

    survivor = "toril" if killed == "node" else "node"
    assert ended.processed_by == survivor
    assert ended.processed_on_ms - ended.timestamp_ms < 800 + poll_ms[survivor] + 1000
