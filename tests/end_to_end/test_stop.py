"""Stopping a worker: nothing is lost, nothing costs an attempt, nothing is left behind."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest

from tests.support.toril import TorilRun
from toril import Queue

PROCESSORS = "tests.end_to_end.processors:processors"


@pytest.fixture
def queue(redis_url: str):
    with Queue("stop", redis=redis_url) as queue:
        yield queue


def run(url: str, *flags: str) -> TorilRun:
    return TorilRun("stop", PROCESSORS, url, "--concurrency", "1", *flags).ready()


def wait_active(queue: Queue, toril: TorilRun) -> None:
    toril.wait_until(queue.counts, lambda counts: counts["active"] == 1, 10)


def test_drain_lets_the_running_job_end_and_claims_nothing_more(redis_url, queue):
    with run(redis_url, "--drain-timeout", "20s") as toril:
        running, waiting = queue.add("nap", {"seconds": 1}), queue.add("echo", {})
        wait_active(queue, toril)
        toril.stop()
        assert toril.exit_code() == 0

    assert queue.get_job(running.id).state() == "completed"
    assert queue.get_job(waiting.id).state() == "waiting"


@pytest.mark.parametrize("how", ["deadline", "second signal"])
def test_unfinished_job_goes_back_to_the_front_and_costs_no_attempt(redis_url, queue, how):
    with run(redis_url, "--drain-timeout", "300ms" if how == "deadline" else "60s") as toril:
        running = queue.add("nap", {"seconds": 60}, attempts=1)
        wait_active(queue, toril)
        queue.add("echo", {})
        toril.stop()
        if how == "second signal":
            toril.wait_for("draining")
            toril.stop(signal.SIGINT)
        began = time.monotonic()
        assert toril.exit_code() == 0
        assert time.monotonic() - began < 10

    job = queue.get_job(running.id)
    assert (job.state(), job.attempts_made, job.interruptions) == ("waiting", 0, 1)
    with run(redis_url) as toril:
        toril.wait_until(
            lambda: queue.get_job(running.id).attempts_started, lambda starts: starts == 2, 10
        )


def test_prioritized_job_goes_back_with_its_marker(redis_url, redis_client, queue):
    with run(redis_url, "--drain-timeout", "200ms") as toril:
        running = queue.add("nap", {"seconds": 60}, priority=7)
        wait_active(queue, toril)
        toril.stop()
        assert toril.exit_code() == 0

    assert queue.get_job(running.id).state() == "prioritized"
    assert redis_client.zscore("bull:stop:marker", "0") == 0


def test_no_process_is_left_behind(redis_url, queue):
    with run(redis_url, "--drain-timeout", "200ms") as toril:
        queue.add("nap", {"seconds": 60})
        wait_active(queue, toril)
        family = psutil.Process(toril.process.pid).children(recursive=True)
        assert len(family) >= 2
        toril.stop()
        assert toril.exit_code() == 0

    gone, alive = psutil.wait_procs(family, timeout=5)
    assert (len(gone), alive) == (len(family), [])


def test_killed_supervisor_takes_its_processes_along_and_its_job_is_recovered(redis_url, queue):
    flags = ("--lock-duration", "1s", "--stalled-interval", "500ms")
    with run(redis_url, *flags) as toril:
        job = queue.add("nap-once", {"seconds": 60})
        wait_active(queue, toril)
        family = psutil.Process(toril.process.pid).children(recursive=True)
        os.kill(toril.process.pid, signal.SIGKILL)
        gone, alive = psutil.wait_procs(family, timeout=5)
        assert (len(gone), alive) == (len(family), [])

    with run(redis_url, *flags):
        job.wait(timeout="20s")

    ended = queue.get_job(job.id)
    assert (ended.attempts_started, ended.stalls, ended.attempts_made) == (2, 1, 1)
