"""`toril run` as its users meet it: jobs end as they should, and every end has a reason."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.toril import TorilRun
from toril import Backoff, JobFailed, Queue

if TYPE_CHECKING:
    from pathlib import Path

PROCESSORS = "tests.end_to_end.processors:processors"


@pytest.fixture
def queue(redis_url: str):
    with Queue("e2e", redis=redis_url) as queue:
        yield queue


def run(url: str, *flags: str) -> TorilRun:
    return TorilRun("e2e", PROCESSORS, url, *flags)


def ledger(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def test_jobs_of_every_kind_complete_and_until_empty_ends(redis_url, queue):
    jobs = [
        queue.add("echo", {"n": 1}),
        queue.add("echo", {"n": 2}, delay="300ms"),
        queue.add("echo", {"n": 3}, priority=5),
        queue.add("echo", {"n": 4}, lifo=True),
    ]

    with run(redis_url, "--concurrency", "2", "--until-empty") as toril:
        assert toril.exit_code() == 0

    assert [queue.get_job(job.id).returnvalue for job in jobs] == [{"n": n} for n in (1, 2, 3, 4)]
    assert queue.counts()["completed"] == 4


def test_idle_worker_starts_an_added_job_at_once(redis_url, queue):
    with run(redis_url, "--concurrency", "1").ready():
        assert queue.add("echo", "x").wait(timeout="5s") == "x"
        began = time.monotonic()
        assert queue.add("echo", "y").wait(timeout="5s") == "y"
        assert time.monotonic() - began < 2


def test_delayed_jobs_start_on_time_when_nothing_else_wakes_redis(redis_url, redis_client, queue):
    """Redis looks at the time of blocked clients when it wakes, at worst once a second."""
    redis_client.config_set("hz", 1)
    with run(redis_url, "--concurrency", "1").ready():
        queue.add("echo", "x").wait(timeout="5s")
        late_ms = []
        for _ in range(3):
            job = queue.add("echo", "y", delay="200ms")
            job.wait(timeout="5s")
            found = queue.get_job(job.id)
            late_ms.append(found.processed_on_ms - found.timestamp_ms - 200)
    redis_client.config_set("hz", 10)

    assert min(late_ms) < 400, late_ms


def test_failures_are_retried_with_backoff_and_then_final(redis_url, queue):
    job = queue.add("fail", {"message": "no luck"}, attempts=3, backoff=Backoff.fixed("100ms"))

    with run(redis_url, "--concurrency", "1").ready(), pytest.raises(JobFailed, match="no luck"):
        job.wait(timeout="20s")

    ended = queue.get_job(job.id)
    assert (ended.attempts_made, ended.attempts_started, ended.verdict) == (3, 3, "raised")
    assert len(ended.stacktrace) == 3
    assert "RuntimeError: no luck" in ended.stacktrace[-1]


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("give-up", {}, ("unrecoverable", "never again")),
        ("exit-zero", {}, ("exited", "exited with code 0 without a result")),
        ("hoard", {"bytes": 400_000_000}, ("memory-error", "memory")),
        ("huge", {"bytes": 2_000_000}, ("result-too-large", "limit")),
        ("nap", {"seconds": 60}, ("timed-out", "timed out")),
        ("unheard-of", {}, ("raised", "unheard-of")),
        ("crash", {}, ("crashed", "SIGSEGV")),
    ],
)
def test_every_end_leaves_its_verdict_on_the_job(redis_url, queue, name, data, expected):
    verdict, reason = expected
    job = queue.add(name, data)
    flags = ("--timeout", "1s", "--memory", "200MiB", "--on-crash", "fail", "--until-empty")

    with run(redis_url, "--concurrency", "1", *flags) as toril:
        assert toril.exit_code() == 0

    ended = queue.get_job(job.id)
    assert ended.state() == "failed"
    assert ended.verdict == verdict
    assert reason in ended.failed_reason


def test_crashing_job_fails_at_the_third_crash_and_costs_no_attempt(redis_url, queue, tmp_path):
    job = queue.add("crash", {"ledger": str(tmp_path / "ledger")}, attempts=2)

    with run(redis_url, "--concurrency", "1", "--until-empty") as toril:
        assert toril.exit_code() == 0

    ended = queue.get_job(job.id)
    assert ended.state() == "failed"
    assert "crashed 3 times" in ended.failed_reason
    assert ended.crashes == 3
    assert len(ledger(tmp_path / "ledger")) == 3


def test_killed_child_is_replaced_and_its_job_done_by_another(redis_url, queue):
    with run(redis_url, "--concurrency", "2").ready() as toril:
        job = queue.add("nap-once", {"seconds": 30})
        toril.wait_until(
            lambda: queue.get_job(job.id).progress, lambda progress: isinstance(progress, dict), 10
        )
        pid = queue.get_job(job.id).progress["pid"]
        os.kill(pid, signal.SIGKILL)
        assert job.wait(timeout="20s") != pid

    ended = queue.get_job(job.id)
    assert (ended.crashes, ended.attempts_made, ended.attempts_started) == (1, 1, 2)


def test_log_output_progress_and_data_reach_the_job(redis_url, queue):
    job = queue.add("chatter", {"a": 1})

    with run(redis_url, "--concurrency", "1", "--until-empty") as toril:
        assert toril.exit_code() == 0
        assert toril.found("job-output", line="a line on stdout", stream="stdout")

    ended = queue.get_job(job.id)
    assert ended.logs() == ["a line of the log", "a line on stdout"]
    assert (ended.progress, ended.data) == (50, {"a": 1, "seen": True})


def test_usage_of_an_attempt_is_on_the_job(redis_url, queue):
    job = queue.add("burn", {"cpu_seconds": 0.2})

    with run(redis_url, "--concurrency", "1", "--until-empty") as toril:
        assert toril.exit_code() == 0

    usage = queue.get_job(job.id).usage
    assert usage.wall_ms >= 200
    assert 190 <= usage.cpu_ms <= usage.wall_ms + 50


def test_unreadable_job_fails_with_a_reason(redis_url, redis_client, queue):
    job = queue.add("echo", {})
    redis_client.hset(f"bull:e2e:{job.id}", "data", "{not json")
    other = queue.add("echo", {})
    redis_client.hset(f"bull:e2e:{other.id}", "opts", "[")

    with run(redis_url, "--concurrency", "1", "--until-empty") as toril:
        assert toril.exit_code() == 0

    assert redis_client.hget(f"bull:e2e:{job.id}", "t:verdict") == b"unreadable"
    assert redis_client.hget(f"bull:e2e:{other.id}", "t:verdict") == b"unreadable"
    assert queue.counts()["failed"] == 2
