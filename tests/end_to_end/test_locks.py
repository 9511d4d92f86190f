"""The lock of a running job: kept whatever the job does, respected once it is somebody else's."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis

from tests.support.toril import TorilRun
from toril import JobFailed, Queue

if TYPE_CHECKING:
    from pathlib import Path

PROCESSORS = "tests.end_to_end.processors:processors"
LOCK_S = 1.0
FAST = ("--lock-duration", "1s", "--stalled-interval", "300ms")
WITHOUT_RENEWAL = ("-m", "tests.end_to_end.without_renewal", "run")


@dataclass
class Samples:
    """What a connection of its own saw of one job's lock while the job was active."""

    seen: int = 0
    missing: int = 0


def sample_lock(url: str, job_id: str, stop: threading.Event) -> Samples:
    samples = Samples()
    with redis.Redis.from_url(url) as client:
        while not stop.wait(0.1):
            with client.pipeline(transaction=True) as pipe:
                pipe.lpos("bull:locks:active", job_id)
                pipe.exists(f"bull:locks:{job_id}:lock")
                position, is_locked = pipe.execute()
            if position is not None:
                samples.seen += 1
                samples.missing += not is_locked
    return samples


@dataclass
class Evidence:
    """What was seen of a job that blocks: how often it began, what Redis counts, its lock."""

    state: str
    began: int
    starts: int
    stalls: int
    lock: Samples

    @property
    def proves_it(self) -> bool:
        """Ran exactly once, and its lock was never found missing."""
        counts = (self.began, self.starts, self.stalls, self.lock.missing)
        return self.state == "completed" and counts == (1, 1, 0, 0) and self.lock.seen >= 20


def block_for_three_locks(url: str, ledger: Path, command: tuple[str, ...]) -> Evidence:
    """Two workers; a job blocks for three times its lock in one C call that holds the GIL."""
    stop = threading.Event()
    found: list[Samples] = []
    with Queue("locks", redis=url) as queue:
        job = queue.add("block", {"seconds": 3 * LOCK_S, "ledger": str(ledger)}, attempts=3)
        sampler = threading.Thread(
            target=lambda: found.append(sample_lock(url, job.id, stop)), daemon=True
        )
        sampler.start()
        try:
            flags = ("--concurrency", "1", *FAST)
            with (
                TorilRun("locks", PROCESSORS, url, *flags, command=command).ready(),
                TorilRun("locks", PROCESSORS, url, *flags, command=command).ready(),
            ):
                job.wait(timeout="30s")
        except JobFailed:
            pass  # What stalls too often fails: the evidence says so.
        finally:
            stop.set()
            sampler.join()
        ended = queue.get_job(job.id)
        state = ended.state()
    began = ledger.read_text().split()[::4].count("started")
    return Evidence(state, began, ended.attempts_started, ended.stalls, found[0])


def test_job_that_blocks_for_three_locks_in_one_c_call_runs_exactly_once(redis_url, tmp_path):
    evidence = block_for_three_locks(redis_url, tmp_path / "ledger", ("-m", "toril", "run"))
    assert evidence.proves_it, evidence


def test_the_same_proof_fails_without_renewal(redis_url, tmp_path):
    """The proof has teeth: without renewal the lock is found missing, or the job runs again."""
    evidence = block_for_three_locks(redis_url, tmp_path / "ledger", WITHOUT_RENEWAL)
    assert not evidence.proves_it, evidence
    assert evidence.lock.missing > 0, evidence


def test_lost_lock_kills_the_child_and_refuses_its_result(redis_url, redis_client, tmp_path):
    ledger = tmp_path / "ledger"
    with (
        Queue("locks", redis=redis_url) as queue,
        TorilRun("locks", PROCESSORS, redis_url, "--concurrency", "1", *FAST).ready() as toril,
    ):
        job = queue.add("nap", {"seconds": 30, "ledger": str(ledger)})
        toril.wait_until(queue.counts, lambda counts: counts["active"] == 1, 10)
        redis_client.set(f"bull:locks:{job.id}:lock", "somebody-else", px=60_000)
        toril.wait_for("lock-lost", job_id=job.id, timeout_s=10)
        again = queue.add("echo", "next")
        assert again.wait(timeout="10s") == "next"

        held = redis_client.get(f"bull:locks:{job.id}:lock")
        assert (held, queue.get_job(job.id).state()) == (b"somebody-else", "active")
    assert ledger.read_text().split()[::4] == ["started"]


def test_busy_worker_leaves_the_marker_to_others(redis_url, redis_client):
    """No wake-up is stolen by a worker whose children are all busy."""
    with (
        Queue("locks", redis=redis_url) as queue,
        TorilRun("locks", PROCESSORS, redis_url, "--concurrency", "1").ready() as toril,
    ):
        queue.add("nap", {"seconds": 2})
        toril.wait_until(queue.counts, lambda counts: counts["active"] == 1, 10)
        redis_client.delete("bull:locks:marker")
        queue.add("echo", {})
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            assert redis_client.zscore("bull:locks:marker", "0") == 0
            time.sleep(0.05)
