"""A job is cancelled from anywhere, whatever it does; and one can see where it stands."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.toril import TorilRun
from toril import JobFailed, Queue

PROCESSORS = "tests.end_to_end.processors:processors"


@pytest.fixture
def queue(redis_url: str):
    with Queue("cancel", redis=redis_url) as queue:
        yield queue


def run(url: str, *flags: str) -> TorilRun:
    return TorilRun("cancel", PROCESSORS, url, "--concurrency", "1", *flags).ready()


def active(queue: Queue, toril: TorilRun) -> None:
    toril.wait_until(queue.counts, lambda counts: counts["active"] == 1, 10)


def jobs(url: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "toril", "jobs", *words, "--queue", "cancel", "--redis", url],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_waiting_job_is_cancelled_without_a_worker(queue):
    job = queue.add("echo", 1, attempts=3)
    assert queue.cancel(job.id) == "cancelled"
    with pytest.raises(JobFailed, match="cancelled"):
        job.wait(timeout="5s")
    assert queue.get_job(job.id).verdict == "cancelled"


@pytest.mark.parametrize(
    ("name", "stage"),
    [("nap", "exception"), ("ignore-everything", "sigkill"), ("spin-in-c", "sigkill")],
)
def test_running_job_is_cancelled_whatever_it_does(redis_url, queue, name, stage):
    """Lock duration 60 s: the renewal, at 15 s, is not what tells the worker."""
    with run(redis_url, "--lock-duration", "60s") as toril:
        job = queue.add(name, {"seconds": 60}, attempts=3)
        active(queue, toril)
        assert queue.cancel(job.id) == "asked"
        with pytest.raises(JobFailed, match="cancelled"):
            job.wait(timeout="12s")
        ended = queue.get_job(job.id)
        assert (ended.verdict, ended.attempts_started) == ("cancelled", 1)
        assert ended.detail["stage"] == stage
        assert 0 <= ended.detail["cancel_ms"] < 10_000
        assert queue.add("echo", "next").wait(timeout="10s") == "next"


def test_finished_and_unknown_jobs_cannot_be_cancelled(redis_url, queue):
    job = queue.add("echo", 1)
    with run(redis_url):
        job.wait(timeout="10s")
    assert queue.cancel(job.id) == "finished"
    assert queue.cancel("nobody") == "gone"


def test_operator_cancels_shows_and_looks_into_a_job(redis_url, queue):
    with run(redis_url) as toril:
        job = queue.add("spin-in-c", {"seconds": 60})
        active(queue, toril)

        stack = jobs(redis_url, "stack", job.id)
        assert stack.returncode == 0
        assert "spin_in_c" in stack.stdout

        assert "told to stop" in jobs(redis_url, "cancel", job.id).stdout
        toril.wait_for("job-settled", job_id=job.id)

        shown = jobs(redis_url, "show", job.id)
        assert "cancelled" in shown.stdout
        fields = json.loads(jobs(redis_url, "show", job.id, "--json").stdout)
        assert fields["state"] == "failed"
        (attempt,) = fields["history"]
        assert attempt["verdict"] == "cancelled"
        assert attempt["usage"]["cpu_ms"] is not None
    assert jobs(redis_url, "show", "nobody").returncode == os.EX_UNAVAILABLE
    assert jobs(redis_url, "stack", job.id).returncode == os.EX_UNAVAILABLE
