"""Back-off by the name of a strategy: Node's jobs in toril, toril's jobs in Node, the same end."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.compare import events_of
from tests.interop.conftest import BOTH_MAJORS
from tests.interop.strategies import NODE
from toril import Backoff, JobFailed, Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from tests.interop.node import NodeDriver
    from tests.support.toril import TorilRun

STRATEGIES = ("--backoff", "tests.interop.strategies:strategies")
EXPECTED = {"linear": (3, [100, 200]), "never": (1, []), "at-once": (3, [0, 0])}
"""Name → attempts made, and the least gaps between their starts, of a job that always fails."""


@pytest.fixture
def queue(queue_name: str, redis_url: str) -> Iterator[Queue]:
    with Queue(queue_name, redis=redis_url) as opened:
        yield opened


def _add_by_node(node: NodeDriver, queue: str, strategy: str) -> str:
    backoff = {"type": strategy, "delay": 100}
    opts = {"attempts": 3, "backoff": backoff, "jobId": "it"}
    return node.call("add", queue=queue, name="fail", data={"message": "no"}, opts=opts)


def _gaps(starts: list[int]) -> list[int]:
    return [later - earlier for earlier, later in itertools.pairwise(starts)]


def _words(client: redis.Redis, queue: str) -> list[Any]:
    """What the event stream said of the job, without times."""
    told = [entry for entry in events_of(client, queue) if entry.get("jobId") == "it"]
    return [{name: entry[name] for name in entry if name != "delay"} for entry in told]


@BOTH_MAJORS
@pytest.mark.parametrize("strategy", EXPECTED)
def test_torils_jobs_wait_as_a_node_strategy_says(strategy: str, node: NodeDriver, queue: Queue):
    job = queue.add("fail", {"message": "no"}, attempts=3, backoff=Backoff.named(strategy))
    options = {"drainDelay": 60}
    node.call("startWorker", queue=queue.name, options=options, strategies=NODE)

    with pytest.raises(JobFailed, match="no"):
        job.wait(timeout="10s")

    made, least_gaps_ms = EXPECTED[strategy]
    gaps = _gaps([start["at"] for start in node.call("startedJobs")])
    assert queue.get_job(job.id).attempts_made == made
    assert len(gaps) == len(least_gaps_ms)
    assert all(gap >= least - 1 for gap, least in zip(gaps, least_gaps_ms, strict=True))


@BOTH_MAJORS
@pytest.mark.parametrize("strategy", EXPECTED)
def test_nodes_jobs_wait_as_a_strategy_of_toril_says(
    strategy: str,
    node: NodeDriver,
    queue: Queue,
    toril_run: Callable[..., TorilRun],
    redis_client: redis.Redis,
):
    """And the event stream is the one that a Node worker with the same strategy leaves."""
    job_id = _add_by_node(node, queue.name, strategy)
    assert toril_run("--until-empty", *STRATEGIES).exit_code() == 0

    made, least_gaps_ms = EXPECTED[strategy]
    ended = queue.get_job(job_id)
    gaps = _gaps([attempt.started_ms for attempt in ended.history])
    assert (ended.state(), ended.attempts_made, ended.failed_reason) == ("failed", made, "no")
    assert all(gap >= least for gap, least in zip(gaps, least_gaps_ms, strict=True))

    beside = f"{queue.name}-node"
    _add_by_node(node, beside, strategy)
    node.call("listen", queue=beside)
    node.call("startWorker", queue=beside, options={"drainDelay": 60}, strategies=NODE)
    node.call("heard", queue=beside, of="failed", count=1)
    assert _words(redis_client, queue.name) == _words(redis_client, beside)


def test_strategy_that_nobody_defines_never_leaves_a_job_stuck(
    node: NodeDriver, queue: Queue, toril_run: Callable[..., TorilRun]
):
    """A Node worker without it leaves the job in `active`; here it waits its delay, and says so."""
    job_id = _add_by_node(node, queue.name, "sideways")
    assert toril_run("--until-empty").exit_code() == 0

    ended = queue.get_job(job_id)
    assert (ended.state(), ended.attempts_made) == ("failed", 3)
    assert all(gap >= 100 for gap in _gaps([one.started_ms for one in ended.history]))
    assert "there is no such strategy" in ended.history[0].detail["backoff_fault"]
    assert any("'sideways'" in line for line in ended.logs())


def test_timed_out_attempt_waits_the_jobs_delay(queue: Queue, toril_run: Callable[..., TorilRun]):
    """No exception came out of it, so nobody is asked; `never` would have failed it at once."""
    job = queue.add("slow", {"ms": 60_000}, attempts=2, backoff=Backoff.named("never", "100ms"))
    assert toril_run("--until-empty", "--timeout", "200ms", *STRATEGIES).exit_code() == 0

    ended = queue.get_job(job.id)
    assert (ended.state(), ended.attempts_made, ended.verdict) == ("failed", 2, "timed-out")
