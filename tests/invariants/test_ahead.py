"""Invariant 5, second half: short jobs are claimed a little ahead, and nobody waits for it."""

from __future__ import annotations

from tests.invariants.stage import ORDINARY, QUEUE, progress, run
from toril import NewJob, Queue

SHORT, BEHIND = 200, 40


def test_invariant_05_what_stands_behind_a_long_job_goes_back(redis_url):
    """Others may be free: it costs no attempt, and it runs in its turn."""
    with Queue(QUEUE, redis=redis_url) as queue:
        queue.add_bulk(NewJob("echo") for _ in range(SHORT))
        long = queue.add("nap", {"seconds": 2})
        behind = queue.add_bulk(NewJob("echo", {"n": n}) for n in range(BEHIND))
        with run(redis_url, "--until-empty", processor=ORDINARY) as toril:
            progress(queue, toril, long)
            counts = toril.wait_until(queue.counts, lambda found: found["active"] == 1, 15)
            assert counts["waiting"] == BEHIND
            assert toril.exit_code(30) == 0
            assert toril.found("job-settled", verdict="unavailable"), "nothing stood in line"
        found = [queue.get_job(job.id) for job in (long, *behind)]
    assert {job.state() for job in found} == {"completed"}
    assert {(job.attempts_made, job.interruptions, job.stalls) for job in found} == {(1, 0, 0)}
    ended = [event["job_id"] for event in toril.found("job-settled", verdict="returned")]
    assert ended[-len(found) :] == [job.id for job in found]
