"""`toril run --listeners`: what happens is told in a process of its own, and harms no job."""

from __future__ import annotations

import json
import os

import pytest

from tests.support.toril import TorilRun
from toril import JobFailed, Queue

PROCESSORS = "tests.end_to_end.processors:processors"
LISTENERS = "tests.end_to_end.listeners"


@pytest.fixture
def queue(redis_url: str):
    with Queue("heard", redis=redis_url) as queue:
        yield queue


def run(url: str, attribute: str, *flags: str) -> TorilRun:
    words = ("--concurrency", "1", "--level", "process", *flags)
    return TorilRun("heard", PROCESSORS, url, "--listeners", f"{LISTENERS}:{attribute}", *words)


def heard(toril: TorilRun, kind: str, count: int = 1) -> list[dict]:
    """What the listeners told of this kind."""

    def look() -> list[dict]:
        lines = [event["line"] for event in toril.found("job-output", stream="listeners stdout")]
        return [told for told in map(json.loads, lines) if told["kind"] == kind]

    return toril.wait_until(look, lambda found: len(found) >= count, 20)


def test_listeners_hear_of_a_queue_in_a_process_of_their_own(redis_url, queue):
    with run(redis_url, "listeners", "--timeout", "500ms").ready() as toril:
        job = queue.add("nap", {"seconds": 0})
        job.wait(timeout="10s")
        (completed,) = heard(toril, "Completed")
        (active,) = heard(toril, "Active")
        (progress,) = heard(toril, "Progress")
        late = queue.add("nap", {"seconds": 60})
        with pytest.raises(JobFailed, match="timed out"):
            late.wait(timeout="10s")
        (failed,) = heard(toril, "Failed")
        (timed_out,) = heard(toril, "TimedOut")
    assert (active["job_id"], active["name"], active["attempt"]) == (job.id, "nap", 1)
    assert progress["progress"] == {"pid": completed["returnvalue"]}
    assert (failed["job_id"], failed["verdict"], failed["is_retried"]) == (
        late.id,
        "timed-out",
        False,
    )
    assert timed_out["job_id"] == late.id
    assert completed["pid"] not in {toril.process.pid, completed["returnvalue"]}


def test_listeners_hear_of_stalled_jobs_and_of_trouble(redis_url, redis_client, queue):
    """A job in `active` that nobody holds; then a lock that somebody else took."""
    lost = queue.add("nap", {"seconds": 0})
    redis_client.lrem("bull:heard:wait", 1, lost.id)
    redis_client.lpush("bull:heard:active", lost.id)
    flags = ("--stalled-interval", "200ms", "--lock-duration", "1s")
    with run(redis_url, "listeners", *flags).ready() as toril:
        (stalled,) = heard(toril, "Stalled")
        taken = queue.add("nap", {"seconds": 60})
        toril.wait_until(taken.state, lambda state: state == "active", 10)
        redis_client.set(f"bull:heard:{taken.id}:lock", "somebody")
        errors = heard(toril, "WorkerError")
    assert stalled["job_id"] == lost.id
    assert (errors[0]["what"], errors[0]["job_id"]) == ("lock-lost", taken.id)


def test_deadly_listeners_cost_no_job(redis_url, queue):
    jobs = [queue.add("echo", number) for number in range(3)]
    with run(redis_url, "deadly", "--until-empty") as toril:
        assert toril.exit_code() == 0, "\n".join(toril.lines)
        assert toril.found("listener-failed")
        assert not toril.found("listener-events-dropped")
    assert [queue.get_job(job.id).returnvalue for job in jobs] == list(range(3))


def test_misspelt_event_is_refused_before_anything_is_claimed(redis_url, queue):
    queue.add("echo", 1)
    with run(redis_url, "misspelt") as toril:
        assert toril.exit_code() == os.EX_CONFIG
        assert any("did you mean 'completed'" in line for line in toril.lines)
    assert queue.counts()["waiting"] == 1
