"""Invariants 5, 6, 7, 9 and 14: how a worker takes jobs, ends attempts, counts, stops, is well."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.invariants.stage import ORDINARY, OURS, QUEUE, active, ended, run
from tests.support.toril import TorilRun
from toril import Backoff, NewJob, Queue
from toril.runtime.claim import Claim
from toril.runtime.retry import Counts, GiveBack, Policy, decide
from toril.supervisor.attempts import Attempts
from toril.supervisor.line import WAITING_S
from toril.supervisor.reports import Reports
from toril.supervisor.settings import QueueSettings, Settings
from toril.supervisor.worker import Worker

if TYPE_CHECKING:
    from toril.call import Outcome
    from toril.events import Event

FAST = ("--lock-duration", "1s", "--stalled-interval", "300ms")


def test_invariant_05_a_job_is_claimed_only_for_a_free_child(redis_url):
    with (
        Queue(QUEUE, redis=redis_url) as queue,
        run(redis_url, processor=ORDINARY, concurrency=2) as toril,
    ):
        jobs = queue.add_bulk(NewJob("nap", {"seconds": 0.2}) for _ in range(10))
        most = 0
        while (counts := queue.counts())["completed"] < len(jobs):
            most = max(most, counts["active"])
            assert toril.process.poll() is None
    assert most == 2


async def test_invariant_05_a_claim_without_a_child_goes_back_within_100_ms():
    """Its child died between the claim and the call; going back costs nothing."""

    class Listener:
        def __init__(self) -> None:
            self.ends: asyncio.Queue[Outcome] = asyncio.Queue()

        def on_end(self, _claim: Claim, outcome: Outcome) -> None:
            self.ends.put_nowait(outcome)

    listener, policy = Listener(), Policy()
    settings = QueueSettings(QUEUE, OURS, concurrency=1)
    attempts = Attempts(settings, policy, Reports(QUEUE, print), listener, print)
    claim = Claim("1", "t:1", "echo")
    began = asyncio.get_running_loop().time()
    attempts.start(claim)
    outcome = await listener.ends.get()
    took_s = asyncio.get_running_loop().time() - began
    assert WAITING_S <= 0.1
    assert took_s < WAITING_S + 0.1
    assert decide(claim, outcome, policy, 0.0) == GiveBack(Counts.NOTHING)


def test_invariant_06_every_attempt_leaves_one_verdict_with_detail(redis_url):
    """Whatever the exit code, an end without a result is a failure."""
    expected = {
        "echo": ("completed", "returned"),
        "fail": ("failed", "raised"),
        "give-up": ("failed", "unrecoverable"),
        "exit-zero": ("failed", "exited"),
        "crash": ("failed", "crashed"),
        "hoard": ("failed", "memory-error"),
        "huge": ("failed", "result-too-large"),
        "nap": ("failed", "timed-out"),
        "unheard-of": ("failed", "raised"),
    }
    data = {"hoard": {"bytes": 400_000_000}, "huge": {"bytes": 2_000_000}, "nap": {"seconds": 60}}
    flags = ("--timeout", "1s", "--memory", "200MiB", "--on-crash", "fail", "--until-empty")
    with Queue(QUEUE, redis=redis_url) as queue:
        jobs = {name: queue.add(name, data.get(name, {})) for name in expected}
        with TorilRun(QUEUE, ORDINARY, redis_url, "--concurrency", "2", *flags) as toril:
            assert toril.exit_code(40) == 0
        found = {name: queue.get_job(job.id) for name, job in jobs.items()}
    assert {name: (job.state(), job.verdict) for name, job in found.items()} == expected
    assert {name: [one.verdict for one in job.history] for name, job in found.items()} == {
        name: [verdict] for name, (_state, verdict) in expected.items()
    }
    assert found["crash"].detail["signal"] == "SIGSEGV"
    assert found["exit-zero"].detail["exit_code"] == 0
    assert all(job.failed_reason for name, job in found.items() if name != "echo")


def test_invariant_07_attempts_crashes_stalls_and_interruptions_are_never_mixed(redis_url):
    """One job ends once in each way; each end goes on its own counter and on no other."""
    flags = (*FAST, "--max-crashes", "2", "--max-stalled", "1")
    with Queue(QUEUE, redis=redis_url) as queue:
        job = queue.add("calamity", {}, attempts=2, backoff=Backoff.fixed("100ms"))
        with run(redis_url, *flags, "--drain-timeout", "200ms") as toril:
            reached(queue, toril, job.id, 3)
            toril.stop()
            assert toril.exit_code() == 0
        with run(redis_url, *flags) as toril:
            reached(queue, toril, job.id, 4)
            os.kill(toril.process.pid, signal.SIGKILL)
            toril.exit_code()
        with run(redis_url, *flags) as toril:
            found = ended(queue, toril, job)
    assert (found.state(), found.returnvalue) == ("completed", 5)
    assert (found.crashes, found.stalls, found.interruptions) == (1, 1, 1)
    assert (found.attempts_made, found.attempts_started) == (2, 5)
    verdicts = [attempt.verdict for attempt in found.history]
    assert verdicts == ["raised", "crashed", "interrupted", "stalled", "returned"]


def reached(queue: Queue, toril: TorilRun, job_id: str, start: int) -> None:
    """Wait until that start runs."""
    toril.wait_until(
        lambda: queue.get_job(job_id).attempts_started, lambda started: started == start, 20
    )
    active(queue, toril)


def test_invariant_09_stop_drains_interrupts_and_gives_back_at_no_cost(redis_url):
    """Two run, one of them too long; two wait. What is given back runs before what waits."""
    with (
        Queue(QUEUE, redis=redis_url) as queue,
        run(redis_url, "--drain-timeout", "1500ms", processor=ORDINARY, concurrency=2) as toril,
    ):
        short = queue.add("nap", {"seconds": 0.8}, attempts=1)
        long = queue.add("nap", {"seconds": 60}, attempts=1)
        active(queue, toril, 2)
        waiting = queue.add_bulk(NewJob("echo", {}) for _ in range(2))
        began = time.monotonic()
        toril.stop()
        assert toril.exit_code() == 0
        took_s = time.monotonic() - began
        found = queue.get_job(long.id)
        assert queue.get_job(short.id).state() == "completed"
        assert {queue.get_job(job.id).attempts_started for job in waiting} == {0}
    assert 1.4 < took_s < 8
    assert (found.state(), found.attempts_made, found.interruptions) == ("waiting", 0, 1)
    with Queue(QUEUE, redis=redis_url) as queue, run(redis_url, processor=ORDINARY) as toril:
        reached(queue, toril, long.id, 2)
        assert {queue.get_job(job.id).attempts_started for job in waiting} == {0}


@pytest.mark.parametrize("harm", ["Redis is gone", "the loop stands", "nothing is claimed"])
async def test_invariant_14_healthy_means_consuming(private_server, harm):
    server = private_server()
    queue = QueueSettings(QUEUE, ORDINARY, concurrency=1, lock_ms=500, poll_ms=200)
    events: list[Event] = []
    worker = Worker(queue, Settings(server.url, (queue,), drain_timeout_ms=0), events.append)
    loop = asyncio.get_running_loop()
    await worker.open()
    working = asyncio.create_task(worker.run())
    try:
        await turned_well(worker)
        assert worker.health(loop.time()).is_healthy
        if harm == "the loop stands":
            assert "loop" in worker.health(loop.time() - 60).complaints[0].text
        elif harm == "Redis is gone":
            server.kill()
            assert await complaint(worker, "Redis")
            server.start()
            await turned_well(worker)
        else:
            with server.connect() as client:
                client.execute_command("ACL", "SETUSER", "default", "-evalsha")
                assert await complaint(worker, "claimed")
                client.execute_command("ACL", "SETUSER", "default", "+evalsha")
            await turned_well(worker)
    finally:
        worker.stop_now()
        await working


async def turned_well(worker: Worker) -> None:
    """Wait until nothing is complained of."""
    loop = asyncio.get_running_loop()
    while not worker.health(loop.time()).is_healthy:  # noqa: ASYNC110 - it is asked, it tells nobody
        await asyncio.sleep(0.02)


async def complaint(worker: Worker, word: str) -> str:
    """Wait until that is complained of."""
    loop = asyncio.get_running_loop()
    while True:
        for said in worker.health(loop.time()).complaints:
            if word in said.text:
                return said.text
        await asyncio.sleep(0.02)
