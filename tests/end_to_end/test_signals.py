"""Signals while quick, long and stuck jobs run: what is told, what goes on, what does not."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.end_to_end.test_titles import titles
from tests.support.toril import TorilRun
from toril import Queue

if TYPE_CHECKING:
    from toril import Job

PROCESSORS = "tests.end_to_end.processors:processors"
JOBS = {"long": ("nap", 1.0), "stuck in C": ("block", 2.0)}
"""Kind of running job → (processor, seconds)."""


@pytest.fixture
def queue(redis_url: str):
    with Queue("signals", redis=redis_url) as queue:
        yield queue


def run(url: str, *flags: str, concurrency: int = 1) -> TorilRun:
    words = ("--concurrency", str(concurrency), *flags)
    return TorilRun("signals", PROCESSORS, url, *words).ready()


def begun(queue: Queue, toril: TorilRun, name: str, seconds: float) -> Job:
    job = queue.add(name, {"seconds": seconds})
    toril.wait_until(queue.counts, lambda counts: counts["active"] == 1, 20)
    return job


def ended(queue: Queue, toril: TorilRun, job: Job) -> Any:
    toril.wait_until(job.state, lambda state: state in {"completed", "failed"}, 30)
    return queue.get_job(job.id)


@pytest.mark.parametrize("kind", JOBS)
def test_quiet_claims_nothing_more_lets_jobs_end_and_stays_until_resumed(redis_url, queue, kind):
    with run(redis_url) as toril:
        running = begun(queue, toril, *JOBS[kind])
        toril.stop(signal.SIGTSTP)
        toril.wait_for("quiet")
        waiting = queue.add("echo", {})
        assert ended(queue, toril, running).state() == "completed"
        toril.stop(signal.SIGUSR1)
        (dump,) = toril.wait_for("state-dumped")
        assert (dump["stage"], dump["complaints"]) == ("quiet", [])
        assert queue.get_job(waiting.id).state() == "waiting"
        toril.stop(signal.SIGCONT)
        toril.wait_for("resumed")
        assert ended(queue, toril, waiting).state() == "completed"


def test_quiet_worker_leaves_the_wake_up_to_others(redis_url, queue):
    """It waits on the marker no more: a job that is added now wakes somebody who can use it."""
    with run(redis_url) as quiet, run(redis_url) as other:
        quiet.stop(signal.SIGTSTP)
        quiet.wait_for("quiet")
        for _ in range(5):
            job = queue.add("echo", {})
            ended(queue, other, job)
        assert len(other.found("job-settled")) == 5
        quiet.stop()
        assert quiet.exit_code() == 0


def test_dump_tells_children_locks_limits_and_every_stack(redis_url, queue):
    with run(redis_url, "--timeout", "90s", concurrency=2) as toril:
        job = begun(queue, toril, "nap", 60)
        toril.wait_until(
            lambda: titles(toril), lambda told: "toril: signals child 1 nap" in told, 20
        )
        toril.stop(signal.SIGUSR1)
        (dump,) = toril.wait_for("state-dumped")
        (stack,) = toril.wait_for("stack-dumped", queue="signals")
        (own,) = toril.wait_for("stack-dumped", queue="")

    states = {child["slot"]: (child["state"], child["job_id"]) for child in dump["children"]}
    assert sorted(states) == [1, 2]
    assert ("running", job.id) in states.values()
    assert 0 < dump["margin_ms"] <= 30_000
    assert (dump["held"], dump["unrecorded"], dump["stage"]) == (1, 0, "working")
    assert "timeout 1 m 30 s" in dump["limits"]
    assert stack["job_id"] == job.id
    assert " in nap" in stack["stack"]
    assert "worker.py" in own["stack"]


@pytest.mark.parametrize("kind", JOBS)
def test_first_stop_drains_whatever_runs(redis_url, queue, kind):
    with run(redis_url, "--drain-timeout", "30s") as toril:
        running = begun(queue, toril, *JOBS[kind])
        toril.stop(signal.SIGINT)
        assert toril.exit_code() == 0
    assert queue.get_job(running.id).state() == "completed"


def test_stop_ends_a_quiet_worker(redis_url, queue):
    with run(redis_url) as toril:
        begun(queue, toril, "nap", 60)
        toril.stop(signal.SIGTSTP)
        toril.wait_for("quiet")
        toril.stop(signal.SIGTERM)
        toril.wait_for("draining")
        toril.stop(signal.SIGINT)
        assert toril.exit_code() == 0
    assert queue.counts()["waiting"] == 1
