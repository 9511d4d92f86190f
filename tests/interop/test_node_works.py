"""Node workers run what toril's Queue added, of every kind, and toril reads what they left."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.conftest import BOTH_MAJORS, BOTH_MAJORS_IN_FULL
from toril import Backoff, JobFailed, JobGone, Queue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.interop.node import NodeDriver


@pytest.fixture
def queue(queue_name: str, redis_url: str) -> Iterator[Queue]:
    with Queue(queue_name, redis=redis_url) as opened:
        yield opened


def _started_ids(node: NodeDriver) -> list[str]:
    return [start["id"] for start in node.call("startedJobs")]


def _work_off(node: NodeDriver, queue: Queue, *, completed: int) -> None:
    """Start a worker of one job at a time; return when so many jobs have completed."""
    node.call("listen", queue=queue.name)
    node.call("startWorker", queue=queue.name, options={"drainDelay": 60})
    node.call("heard", queue=queue.name, of="completed", count=completed)


@BOTH_MAJORS
def test_24_32_idle_worker_starts_an_added_job_at_once(node: NodeDriver, queue: Queue):
    """It is woken by the marker: its own poll would come after a minute."""
    node.call("startWorker", queue=queue.name, options={"drainDelay": 60})

    job = queue.add("echo", {"text": "naïve 🐂"})

    assert job.wait(timeout="10s") == {"text": "naïve 🐂"}
    (start,) = node.call("startedJobs")
    assert start["id"] == job.id
    assert start["at"] - job.timestamp_ms < 1000


@BOTH_MAJORS
def test_25_delayed_job_starts_when_it_is_due(node: NodeDriver, queue: Queue):
    node.call("startWorker", queue=queue.name, options={"drainDelay": 60})

    job = queue.add("nothing", delay="500ms")

    assert job.wait(timeout="10s") is None
    (start,) = node.call("startedJobs")
    assert 500 <= start["at"] - job.timestamp_ms < 1500


@BOTH_MAJORS
def test_25_jobs_run_in_bullmqs_order(node: NodeDriver, queue: Queue):
    """LIFO before the others in `wait`, then priorities, equal ones in order of addition."""
    jobs = {
        "p5": queue.add("echo", priority=5),
        "p1": queue.add("echo", priority=1),
        "p1-later": queue.add("echo", priority=1),
        "first": queue.add("echo"),
        "second": queue.add("echo"),
        "lifo": queue.add("echo", lifo=True),
    }

    _work_off(node, queue, completed=len(jobs))

    expected = ["lifo", "first", "second", "p1", "p1-later", "p5"]
    assert _started_ids(node) == [jobs[name].id for name in expected]


@BOTH_MAJORS_IN_FULL
@pytest.mark.parametrize(
    ("backoff", "least_gaps_ms"),
    [
        (None, [0, 0]),
        (Backoff.fixed("100ms"), [100, 100]),
        (Backoff.exponential("100ms"), [100, 200]),
    ],
)
def test_27_failing_job_is_retried_with_its_backoff(
    backoff: Any, least_gaps_ms: list[int], node: NodeDriver, queue: Queue
):
    job = queue.add("fail", {"message": "no"}, attempts=3, backoff=backoff)
    node.call("startWorker", queue=queue.name, options={"drainDelay": 60})

    with pytest.raises(JobFailed, match="no"):
        job.wait(timeout="10s")

    starts = [start["at"] for start in node.call("startedJobs")]
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert len(gaps) == 2
    # One millisecond of slack: both ends of a gap are cut to whole ones.
    assert all(gap >= least - 1 for gap, least in zip(gaps, least_gaps_ms, strict=True))
    ended = queue.get_job(job.id)
    assert (ended.attempts_made, ended.attempts_started, len(ended.stacktrace)) == (3, 3, 3)


@BOTH_MAJORS
def test_26_custom_id_added_twice_runs_once(node: NodeDriver, queue: Queue):
    queue.add("echo", {"n": 1}, job_id="once")
    queue.add("echo", {"n": 2}, job_id="once")
    last = queue.add("echo")

    _work_off(node, queue, completed=2)

    assert _started_ids(node) == ["once", last.id]
    assert queue.get_job("once").returnvalue == {"n": 1}


def test_waiting_for_a_job_that_removes_itself(node: NodeDriver, queue: Queue):
    """The event carries the result; a waiter who comes later learns that the job is gone."""
    job = queue.add("echo", {"n": 1}, remove_on_complete=True, delay="300ms")
    node.call("startWorker", queue=queue.name)

    assert job.wait(timeout="10s") == {"n": 1}
    assert queue.get_job(job.id) is None
    with pytest.raises(JobGone):
        job.wait(timeout="10s")


def test_toril_reads_what_a_node_worker_left(node: NodeDriver, queue: Queue):
    job = queue.add("log", remove_on_complete=False)
    queue.add("progress", {"progress": {"done": 3}}, job_id="measured")

    _work_off(node, queue, completed=2)

    ended = queue.get_job(job.id)
    assert (ended.state(), ended.returnvalue, ended.attempts_made) == ("completed", None, 1)
    assert list(ended.logs()) == [f"row {row}" for row in range(1, 6)]
    assert queue.get_job("measured").progress == {"done": 3}
