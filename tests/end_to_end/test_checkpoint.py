"""What a job keeps for its next attempt outlives whatever ends this one."""

from __future__ import annotations

import signal

import pytest

from tests.support.toril import TorilRun
from toril import Queue

PROCESSORS = "tests.end_to_end.processors:processors"
LAST = {"step": 50, "text": "é"}
FLAGS = ("--concurrency", "1", "--lock-duration", "1s", "--stalled-interval", "500ms")


@pytest.fixture
def queue(redis_url: str):
    with Queue("checkpoint", redis=redis_url) as queue:
        yield queue


def run(url: str, *flags: str) -> TorilRun:
    return TorilRun("checkpoint", PROCESSORS, url, *FLAGS, *flags).ready()


@pytest.mark.parametrize(
    ("signals", "drain"),
    [
        ((signal.SIGTERM,), "100ms"),
        ((signal.SIGTERM, signal.SIGINT), "60s"),
        ((signal.SIGKILL,), "60s"),
    ],
    ids=["interrupted", "killed at once", "supervisor killed"],
)
def test_checkpoint_outlives_the_worker_and_costs_no_attempt(redis_url, queue, signals, drain):
    job = queue.add("step", {"how": "sleep", "seconds": 60})
    with run(redis_url, "--drain-timeout", drain) as toril:
        toril.wait_until(lambda: queue.get_job(job.id).progress, lambda told: told == 50, 20)
        for number in signals:
            toril.stop(number)
        toril.exit_code()
    assert queue.get_job(job.id).attempts_made == 0
    with run(redis_url):
        assert job.wait(timeout="30s") == LAST


@pytest.mark.parametrize("how", ["raise", "crash"])
def test_checkpoint_outlives_the_attempt(redis_url, redis_client, queue, how):
    job = queue.add("step", {"how": how}, attempts=2)
    with run(redis_url):
        assert job.wait(timeout="30s") == LAST
    assert redis_client.hget(f"bull:checkpoint:{job.id}", "t:checkpoint") is None


def test_job_without_one_finds_none(redis_url, queue):
    with run(redis_url):
        assert queue.add("step", {"how": "return"}).wait(timeout="30s") is None
