"""One queue's worker: the loop that joins claims, children and settlements.

A job's way through here: `_exchange` claims it, `_start` gives it to a child, `on_outcome` decides
what follows, the next `_exchange` writes that and claims again in the same round trip. There is one
task for this loop and one that waits on the marker; jobs have none. The rule a change must keep:
a claim is held by the lock keeper from the tick it arrives until its settlement is confirmed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

from toril import events as ev
from toril.call import Outcome, Verdict
from toril.errors import RedisUnavailable, SandboxUnavailable, TorilError
from toril.runtime.claim import Claimed, ClaimRequest
from toril.runtime.lock import LockKeeper
from toril.runtime.retry import Policy
from toril.runtime.store import Store
from toril.supervisor.calls import as_call, zygote_spec
from toril.supervisor.intake import Intake
from toril.supervisor.pool import Pool
from toril.supervisor.reports import Reports
from toril.supervisor.settlements import Settlements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toril.call import Call
    from toril.runtime.claim import Claim, Refused, Report
    from toril.runtime.settling import Settled
    from toril.sandbox.handle import Child
    from toril.sandbox.listener import ChildExit
    from toril.supervisor.settings import QueueSettings, Settings

MAX_RECONNECT_S = 5.0
"""Longest pause between two tries to reach Redis; chosen: half of it is the mean delay after."""

LAST_TRY_S = 5.0
"""How long after the drain deadline results are still offered to a Redis that is away; chosen."""


class Worker:
    """Claims from one queue, keeps the locks, runs jobs in a pool, settles them.

    `run()` returns when it was stopped, when the queue is empty (`until_empty`) or when the next
    job must not be taken (`refused`).
    """

    def __init__(self, queue: QueueSettings, settings: Settings, emit: ev.Emit) -> None:
        self.queue = queue
        self.refused: Refused | None = None
        self._settings = settings
        self._emit = emit
        self._store = Store(
            settings.redis, settings.prefix, queue.name, worker_name=settings.worker_name
        )
        self._keeper = LockKeeper(
            self._store, queue.lock_ms, self._on_lost, interval_s=queue.renew_every_s
        )
        self._pool = Pool(zygote_spec(queue), queue.concurrency, self)
        policy = Policy(max_crashes=queue.max_crashes, on_crash=queue.on_crash)
        self._settlements = Settlements(queue.name, policy, self._keeper, emit)
        self._running: dict[Child, Claim] = {}
        self._waiting: list[Claim] = []
        self._reports = Reports()
        self._wake = asyncio.Event()
        self._intake = Intake(self._store, queue.poll_ms, self._is_able, self._wake.set)
        self._is_stopping = False
        self._is_interrupted = False
        self._give_up_at = float("inf")

    @property
    def running(self) -> int:
        """Jobs in children now."""
        return len(self._running)

    async def open(self) -> None:
        """Reach Redis, settle the rate limit, start the children.

        Raises:
            RedisUnavailable: Redis cannot be reached.
            ProcessorImportError: the processor cannot be imported, or is not one.
            SandboxUnavailable: no child can be set up here.
        """
        await self._store.open()
        try:
            await self._configure_limit()
            await self._pool.open()
        except TorilError:
            await self._store.close()
            raise
        self._emit(
            ev.WorkerStarted(
                queue=self.queue.name,
                processor=self.queue.processor,
                isolation=self.queue.level.value,
                concurrency=self.queue.concurrency,
                redis=self._store.location,
            )
        )

    async def run(self) -> None:
        """Work until stopped; afterwards every child is gone and every connection closed."""
        self._keeper.start()
        tasks = [asyncio.create_task(self._intake.watch()), asyncio.create_task(self._sweep())]
        try:
            while not await self._is_done():
                if self._settlements or self._reports or self._intake.is_due:
                    await self._exchange()
                else:
                    self._intake.rest()
                    await self._wake.wait()
                    self._wake.clear()
        finally:
            await _ended(tasks)
            await self._close()

    def stop(self) -> None:
        """Claim nothing more; running jobs have the drain timeout to end."""
        if self._is_stopping:
            return
        self._is_stopping = True
        timeout_ms = self._settings.drain_timeout_ms
        loop = asyncio.get_running_loop()
        self._give_up_at = loop.time() + timeout_ms / 1000 + LAST_TRY_S
        loop.call_later(timeout_ms / 1000, self._interrupt)
        self._emit(ev.Draining(self.queue.name, self.running, timeout_ms))
        self._wake.set()

    def stop_now(self) -> None:
        """Kill what runs and give it back."""
        self.stop()
        self._is_interrupted = True
        self._give_up_at = asyncio.get_running_loop().time() + LAST_TRY_S
        for child in list(self._running):
            child.kill(Verdict.INTERRUPTED)

    # -- what the pool tells

    def on_ready(self) -> None:
        """A child is idle: look for a job for it."""
        if self._waiting:
            self._start(self._waiting.pop(0))
        self._intake.look()

    def on_outcome(self, child: Child, call: Call, outcome: Outcome) -> None:
        """An attempt ended: decide what follows; the loop writes it."""
        del call
        self._end(self._running.pop(child), outcome)

    def on_progress(self, child: Child, call: Call, value: bytes) -> None:
        """Progress for the next round trip."""
        del call
        self._reports.progress(self._running[child], value)
        self._wake.set()

    def on_log(self, child: Child, call: Call | None, stream: str, lines: list[str]) -> None:
        """Lines for the job's log and for ours."""
        job_id = call.job_id if call is not None else ""
        for line in lines:
            self._emit(ev.JobOutput(self.queue.name, job_id, stream, line))
        claim = self._running.get(child)
        if call is not None and claim is not None:
            self._reports.log(claim, lines)
            self._wake.set()

    def on_update_data(self, child: Child, call: Call, value: bytes) -> None:
        """Data for the next round trip."""
        del call
        self._reports.data(self._running[child], value)
        self._wake.set()

    def on_death(self, exit: ChildExit) -> None:  # noqa: A002 - the sandbox's word
        """A child ended that was not asked to."""
        self._emit(ev.ChildGone(self.queue.name, exit.pid or 0, exit.message))

    def on_unavailable(self, error: SandboxUnavailable) -> None:
        """No child can be had: nothing is claimed, and what has no child yet goes back."""
        self._emit(ev.ClaimingPaused(self.queue.name, error.reason, error.remedy))
        waiting, self._waiting = self._waiting, []
        for claim in waiting:
            self._end(claim, Outcome(Verdict.UNAVAILABLE, message=error.reason))

    def on_available(self) -> None:
        """Children can be had again."""
        self._emit(ev.ClaimingResumed(self.queue.name))

    # -- the loop

    async def _is_done(self) -> bool:
        if self._running or self._waiting or self._settlements or self._reports:
            return False
        if self._is_stopping or self.refused is not None:
            return True
        return self._settings.until_empty and self._intake.has_looked and await self._is_empty()

    async def _is_empty(self) -> bool:
        try:
            return await self._store.is_empty()
        except RedisUnavailable as error:
            await self._recover(error)
            return False

    def _is_able(self) -> bool:
        return self._pool.free > 0 and not self._is_stopping and self.refused is None

    async def _exchange(self) -> None:
        reports, endings = self._reports.take(), self._settlements.take()
        want = None
        if self._intake.is_open:
            want = ClaimRequest(self._pool.free, self.queue.lock_ms, self.queue.rate_limit)
            self._intake.asked()
        try:
            answer = await self._store.exchange(reports, endings, want)
        except RedisUnavailable as error:
            self._reports.restore(reports)
            self._settlements.put_back(endings)
            await self._recover(error)
            return
        self._note_reports(reports, answer.reports)
        unavailable = self._settlements.settled(endings, answer.endings)
        await self._note_claimed(answer.claimed)
        if unavailable is not None:
            await self._recover(unavailable)

    async def _note_claimed(self, claimed: Claimed | TorilError | None) -> None:
        if isinstance(claimed, Claimed):
            await self._take(claimed)
        elif claimed is not None:
            self._emit(ev.ClaimFailed(self.queue.name, str(claimed)))
            self._intake.failed()

    async def _take(self, claimed: Claimed) -> None:
        self._keeper.hold(claimed.claims)
        if claimed.ghosts:
            self._emit(ev.GhostsRemoved(self.queue.name, claimed.ghosts))
        for claim in claimed.claims:
            self._start(claim)
        if claimed.refused is not None:
            self.refused = claimed.refused
            self._emit(ev.QueueRefused(self.queue.name, claimed.refused.id, claimed.refused.field))
        self._intake.answered(claimed)
        await self._intake.leave_if_full()

    def _start(self, claim: Claim) -> None:
        if claim.unreadable is not None:
            self._end(claim, Outcome(Verdict.UNREADABLE, message=claim.unreadable))
        elif claim.deferred_failure is not None:
            self._end(claim, Outcome(Verdict.DEFERRED_FAILURE, message=claim.deferred_failure))
        elif self._pool.free:
            child = self._pool.run(as_call(claim, self.queue.name))
            self._running[child] = claim
        else:
            self._waiting.append(claim)

    def _end(self, claim: Claim, outcome: Outcome) -> None:
        self._settlements.add(claim, outcome)
        self._wake.set()

    def _note_reports(
        self, reports: Sequence[Report], results: Sequence[Settled | TorilError]
    ) -> None:
        for report, result in zip(reports, results, strict=True):
            if isinstance(result, TorilError):
                self._emit(ev.ReportRefused(self.queue.name, report.claim.id, str(result)))

    # -- beside the loop

    async def _sweep(self) -> None:
        interval_ms = self.queue.stalled_interval_ms
        while True:
            with contextlib.suppress(TorilError):
                recovered = await self._store.sweep(self.queue.max_stalled, interval_ms)
                if recovered:
                    self._emit(ev.StalledRecovered(self.queue.name, tuple(recovered)))
                self._adopt(await self._store.adopt())
            await asyncio.sleep(interval_ms / 1000)

    def _adopt(self, claims: Sequence[Claim]) -> None:
        held = {claim.token for claim in self._keeper.held}
        fresh = [claim for claim in claims if claim.token not in held]
        self._keeper.hold(fresh)
        for claim in fresh:
            self._start(claim)

    def _on_lost(self, claim: Claim) -> None:
        if self._settlements.is_sent(claim):
            return  # Its lock is gone because it is settled, or its settlement will say otherwise.
        self._emit(ev.LockLost(self.queue.name, claim.id))
        self._settlements.drop(claim)
        self._waiting = [waiting for waiting in self._waiting if waiting is not claim]
        for child, running in list(self._running.items()):
            if running is claim:
                child.kill(Verdict.LOCK_LOST)

    def _interrupt(self) -> None:
        if self._running and not self._is_interrupted:
            self._is_interrupted = True
            self._emit(ev.DrainDeadline(self.queue.name, self.running))
            for child in list(self._running):
                child.interrupt(Verdict.INTERRUPTED)

    async def _recover(self, error: RedisUnavailable) -> None:
        """Reach Redis; hold every lock and find what a lost reply gave us before going on."""
        self._emit(ev.RedisLost(self.queue.name, str(error)))
        loop = asyncio.get_running_loop()
        lost_at, pause_s = loop.time(), 0.05
        while loop.time() < self._give_up_at:
            await asyncio.sleep(pause_s * random.random())  # noqa: S311 - jitter
            pause_s = min(pause_s * 2, MAX_RECONNECT_S)
            try:
                await self._store.ping()
                await self._keeper.renew_now()
                adopted = await self._store.adopt()
            except RedisUnavailable:
                continue
            away_ms = round((loop.time() - lost_at) * 1000)
            self._emit(ev.RedisBack(self.queue.name, away_ms, len(self._keeper.held)))
            self._adopt(adopted)
            self._intake.look()
            return
        self._give_up()

    def _give_up(self) -> None:
        self._emit(ev.Unrecorded(self.queue.name, self._settlements.give_up()))
        self._reports.take()
        for child in list(self._running):
            child.kill(Verdict.LOCK_LOST)

    async def _configure_limit(self) -> None:
        configured = self.queue.rate_limit
        in_force = await self._store.configure_limit(configured)
        if configured is not None and in_force != configured:
            self._emit(ev.LimitDiffers(self.queue.name, str(configured), str(in_force)))

    async def _close(self) -> None:
        self._intake.close()
        await self._keeper.stop()
        await self._pool.close()
        await self._store.close()
        self._emit(ev.WorkerStopped(self.queue.name, self._settlements.recorded))


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they end: before Python 3.12 `wait_for` can swallow a cancellation."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=0.1)
