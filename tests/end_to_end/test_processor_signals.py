"""What a processor may raise and ask for, and what it is told."""

from __future__ import annotations

import time

import pytest

from tests.support.toril import TorilRun
from toril import Queue

PROCESSORS = "tests.end_to_end.processors:processors"


@pytest.fixture
def queue(redis_url: str):
    with Queue("signals", redis=redis_url) as queue:
        yield queue


def run(url: str, *flags: str) -> TorilRun:
    return TorilRun("signals", PROCESSORS, url, "--concurrency", "1", *flags).ready()


def test_delayed_job_comes_back_and_costs_no_attempt(redis_url, queue):
    job = queue.add("later", attempts=1)
    with run(redis_url):
        assert job.wait(timeout="10s") == 2
    ended = queue.get_job(job.id)
    assert (ended.attempts_made, ended.attempts_started) == (1, 2)
    first, second = ended.history
    assert (first.verdict, second.verdict) == ("delayed", "returned")


def test_rate_limited_job_holds_the_queue_and_costs_no_attempt(redis_url, queue):
    job, other = queue.add("hold", attempts=1), queue.add("echo", 1)
    with run(redis_url):
        began = time.monotonic()
        assert other.wait(timeout="10s") == 1
        assert time.monotonic() - began > 0.3
    ended = queue.get_job(job.id)
    assert (ended.state(), ended.attempts_made, ended.attempts_started) == ("completed", 1, 2)


def test_running_job_adds_a_job_to_its_queue(redis_url, queue):
    job = queue.add("parent")
    with run(redis_url):
        child_id = job.wait(timeout="10s")
        assert queue.get_job(child_id).wait(timeout="10s") == {"from": job.id}


def test_soft_timeout_lets_a_processor_tidy_up(redis_url, queue):
    job = queue.add("soft")
    with run(redis_url, "--soft-timeout", "300ms", "--timeout", "20s"):
        assert job.wait(timeout="10s") == "tidied up"


def test_stack_of_a_job_that_runs_long_is_kept(redis_url, queue):
    job = queue.add("nap", {"seconds": 60})
    with run(redis_url, "--timeout", "1s") as toril:
        toril.wait_for("job-settled", job_id=job.id)
    ended = queue.get_job(job.id)
    assert ended.verdict == "timed-out"
    assert "nap" in ended.stack


def test_history_tells_who_ran_each_attempt(redis_url, queue):
    job = queue.add("fail", {}, attempts=2)
    with run(redis_url) as toril:
        toril.wait_for("job-settled", job_id=job.id, settled="failed")
    attempts = queue.get_job(job.id).history
    assert [attempt.attempt for attempt in attempts] == [1, 2]
    for attempt in attempts:
        assert attempt.verdict == "raised"
        assert attempt.started_ms <= attempt.ended_ms
        assert attempt.host
        assert attempt.pid
        assert attempt.usage.peak_memory_bytes > 1_000_000


def test_job_started_too_often_fails_without_running(redis_url, queue, tmp_path):
    job = queue.add("fail", {"ledger": str(tmp_path / "ledger")}, attempts=9)
    with run(redis_url, "--max-started", "2") as toril:
        toril.wait_for("job-settled", job_id=job.id, settled="failed")
    assert len((tmp_path / "ledger").read_text().splitlines()) == 2
