"""One queue's worker: the loop that joins claims, children and settlements.

A job's way: a round trip claims it (`Rounds.make`), `Attempts.start` gives it to a child, `on_end`
decides what follows, the next round trip writes that and claims again. There is one task for this
loop, one that waits on the marker and one for the upkeep; jobs have none. The rule a
change must keep: a claim is held by the lock keeper from the tick it arrives until its settlement
is confirmed.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from toril import events as ev
from toril import lifecycle
from toril.correlation import of_job
from toril.errors import TorilError
from toril.runtime.lock import LockKeeper
from toril.runtime.store import Store
from toril.supervisor import dump, rate
from toril.supervisor.asks import Asks
from toril.supervisor.attempts import Attempts
from toril.supervisor.beside import Beside
from toril.supervisor.calls import policy_of
from toril.supervisor.follow_ups import FollowUps
from toril.supervisor.health import examine
from toril.supervisor.intake import Intake
from toril.supervisor.listeners import Listeners
from toril.supervisor.reloading import rehearse
from toril.supervisor.reports import Reports
from toril.supervisor.rounds import Rounds
from toril.supervisor.scaling import Scaling
from toril.supervisor.settlements import Settlements
from toril.supervisor.sight import sight_of, vitals_of
from toril.supervisor.stage import Stage
from toril.supervisor.troubles import Troubles
from toril.supervisor.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable

    from toril.call import Outcome
    from toril.runtime.claim import Claim
    from toril.sandbox.reply import Reply
    from toril.supervisor.health import Health
    from toril.supervisor.reloading import Rehearsed
    from toril.supervisor.settings import QueueSettings, Settings
    from toril.supervisor.sight import Sight


class Worker:
    """Claims from one queue, keeps the locks, runs jobs in a pool, settles them.

    `run()` returns when it was stopped, or when the queue is empty (`until_empty`).
    """

    def __init__(
        self,
        queue: QueueSettings,
        settings: Settings,
        emit: ev.Emit,
        sweep_orphans: Callable[[], None] = lambda: None,
    ) -> None:
        self.queue = queue
        self._settings = settings
        self._listeners: Listeners | None = None
        if queue.listeners is not None:
            self._listeners = Listeners(queue, emit, sweep_orphans)
            emit = self._listeners.overhear
        self._emit = emit
        self._sweep_orphans = sweep_orphans
        self._stage = Stage()
        self._troubles = Troubles(queue.name, emit)
        self._wake = asyncio.Event()
        self._store = Store(
            settings.redis, settings.prefix, queue.name, worker_name=settings.worker_name
        )
        self._keeper = LockKeeper(
            self._store,
            queue.lock_ms,
            self._on_lost,
            on_cancelled=self._on_cancelled,
            on_error=self._troubles.teller("renewal"),
            interval_s=queue.renew_every_s,
        )
        policy = policy_of(queue)
        self._settlements = Settlements(queue.name, policy, self._keeper, emit)
        self._reports = Reports(queue.name, emit)
        self._follow_ups = FollowUps(queue, self._store, emit)
        self._attempts = Attempts(queue, policy, self._reports, self, emit)
        self._attempts.listeners = self._settlements.listeners = self._listeners
        self._intake = self._new_intake()
        self._rounds = Rounds(
            lambda: self.queue,
            self._store,
            self._keeper,
            settlements=self._settlements,
            reports=self._reports,
            attempts=self._attempts,
            intake=self._intake,
            stage=self._stage,
            troubles=self._troubles,
            emit=emit,
            wake=self._wake.set,
        )

    def _new_intake(self) -> Intake:
        return Intake(
            self._store,
            self.queue.poll_ms,
            is_able=lambda: self._stage.is_claiming and self._attempts.free > 0,
            has_room=lambda: self._stage.is_claiming and self._attempts.room > 0,
            wake=self._wake.set,
            on_error=self._troubles.teller("waiting"),
        )

    @property
    def zygote_pids(self) -> set[int]:
        """The processes that fork for this worker, starting and leaving ones included."""
        of_listeners = set() if self._listeners is None else self._listeners.zygote_pids
        return self._attempts.zygote_pids | of_listeners

    @property
    def missing(self) -> tuple[str, ...]:
        """Mechanisms of its level that it works without, as its settings waive."""
        return self._attempts.missing

    @property
    def running(self) -> int:
        """Jobs in children now."""
        return self._attempts.running

    def health(self, turned_s: float) -> Health:
        """Is this worker consuming, or able to? Asks nobody.

        Args:
            turned_s: when the loop last turned, on its own clock.
        """
        vitals = vitals_of(self.queue, self._store, self._intake, self._attempts, turned_s)
        dropped = 0 if self._listeners is None else self._listeners.dropped
        return replace(examine(vitals), dropped_events=dropped, is_quiet=self.is_quiet)

    @property
    def size(self) -> int:
        """Jobs at a time, as it is now."""
        return self._attempts.size

    @property
    def is_quiet(self) -> bool:
        """Was it told to claim nothing?"""
        return self._stage.is_quiet

    def dump(self, turned_s: float) -> None:
        """Tell the log where everything stands, and the stacks of what runs."""
        dump.tell(
            self._emit,
            self.queue,
            dump.Parts(
                stage=self._stage.words,
                attempts=self._attempts,
                zygotes=self.zygote_pids,
                keeper=self._keeper,
                unrecorded=self._settlements.unrecorded,
                health=self.health(turned_s),
            ),
        )

    def sight(self) -> Sight:
        """What it does now, for whoever watches; asks nobody."""
        return sight_of(self.queue, self._attempts, self._settlements, self._keeper)

    async def open(self) -> None:
        """Reach Redis, settle the rate limit, start the children.

        Raises:
            RedisUnavailable: Redis cannot be reached.
            ProcessorImportError: the processor cannot be imported, or is not one.
            SandboxUnavailable: no child can be set up here.
        """
        await self._store.open()
        try:
            await self.settle_limit()
            await self._attempts.open()
            if self._listeners is not None:
                await self._listeners.open()
        except BaseException:
            await self._end_children()
            await self._store.close()
            raise
        self._emit(
            ev.WorkerStarted(
                queue=self.queue.name,
                processor=self.queue.processor,
                isolation=self.queue.level.value,
                concurrency=self.size,
                redis=self._store.location,
            )
        )
        self._tell_missing()

    async def settle_limit(self) -> None:
        """Offer Redis the rate limit of the settings; raises what `rate.offer` does."""
        await rate.offer(self.queue, self._store, self._emit)

    async def rehearse(self, queue: QueueSettings) -> Rehearsed:
        """Try out new settings and the code as it is now, while the old goes on.

        Raises:
            ProcessorImportError, SandboxUnavailable: as `open` does; nothing is left of it.
        """
        return await rehearse(queue, self._attempts, self._listeners)

    def adopt(self, rehearsed: Rehearsed, settings: Settings) -> None:
        """Go on with what was tried out: new jobs run by it, running ones end by the old."""
        self.queue, self._settings = rehearsed.queue, settings
        policy = policy_of(self.queue)
        self._settlements.policy = policy
        self._follow_ups.queues = {self.queue.name, *self.queue.allow.queues}
        jobs, *of_listeners = rehearsed.rehearsals
        self._attempts.adopt(self.queue, policy, jobs)
        if self._listeners is not None:
            self._listeners.adopt(self.queue, *of_listeners)
        self._intake.look()
        self._tell_missing()

    def _tell_missing(self) -> None:
        if missing := self.missing:
            self._emit(ev.LevelWeakened(self.queue.name, self.queue.level.value, missing))

    async def run(self) -> None:
        """Work until stopped; afterwards every child is gone and every connection closed."""
        self._keeper.start()
        beside = Beside(self._wake.set)
        beside.start(self._intake.watch())
        beside.start(self._upkeep().run())
        beside.start(self._asks().run())
        beside.start(self._scaling().run())
        try:
            while not await self._is_done():
                beside.check()
                if self._rounds.is_due:
                    await self._rounds.make()
                else:
                    self._intake.rest()
                    if self.is_quiet:
                        await self._intake.leave_if_full()
                    self._rounds.turn()
                    await self._wake.wait()
                    self._wake.clear()
        finally:
            self._stage.interrupt()
            await self._intake.close()
            await beside.end()
            await self.close()

    def _upkeep(self) -> Upkeep:
        return Upkeep(lambda: self.queue, self._store, self._keeper, self._rounds.adopt, self._emit)

    def _asks(self) -> Asks:
        return Asks(self.queue.name, self._store, self._keeper, self._attempts, self._emit)

    def _scaling(self) -> Scaling:
        on_error = self._troubles.teller("scaling")
        return Scaling(lambda: self.queue, self._store, self._attempts, on_error, self._emit)

    async def close(self) -> None:
        """End children and connections; for a worker that was opened and never run, too."""
        await self._keeper.stop()
        await self._end_children()
        await self._store.close()
        self._emit(ev.WorkerStopped(self.queue.name, self._settlements.recorded))

    async def _end_children(self) -> None:
        await self._attempts.close()
        if self._listeners is not None:
            await self._listeners.close()

    def stop(self) -> None:
        """Claim nothing more; running jobs have the drain timeout to end."""
        if not self._stage.is_working:
            return
        timeout_ms = self._settings.drain_timeout_ms
        loop = asyncio.get_running_loop()
        self._stage.drain(loop.time(), timeout_ms / 1000)
        loop.call_later(timeout_ms / 1000, self._on_drain_deadline)
        self._emit(ev.Draining(self.queue.name, self.running, timeout_ms))
        self._wake.set()
        self._rounds.nudge.set()

    def quiet(self) -> None:
        """Claim nothing more until `resume`; what runs goes on, and stopping goes before."""
        if not self._stage.is_claiming:
            return
        self._stage.is_quiet = True
        self._emit(lifecycle.Quiet(self.queue.name, self.running))
        self._wake.set()

    def resume(self) -> None:
        """Claim again."""
        if not self.is_quiet:
            return
        self._stage.is_quiet = False
        self._emit(lifecycle.Resumed(self.queue.name))
        self._intake.look()

    def stop_now(self) -> None:
        """Kill what runs and give it back."""
        self.stop()
        self._stage.hurry(asyncio.get_running_loop().time())
        self._attempts.interrupt_all(at_once=True)
        if self._listeners is not None:
            self._listeners.hurry()
        self._wake.set()
        self._rounds.nudge.set()

    # -- what its parts tell

    def on_ready(self) -> None:
        """A child is free, or soon will be: look for a job for it."""
        if self._attempts.free:
            self._intake.look()
        else:
            self._rounds.turn()

    def on_said(self) -> None:
        """A job said something."""
        self._wake.set()

    def on_end(self, claim: Claim, outcome: Outcome) -> None:
        """An attempt ended: decide what follows; the loop writes it."""
        self._settlements.add(claim, outcome)
        self._reports.forget(claim)
        self._rounds.turn()

    def on_asked(self, claim: Claim, method: str, payload: bytes, reply: Reply) -> None:
        """A running job asks for something and waits."""
        self._follow_ups.ask(claim, method, payload, reply)

    def on_orphans(self) -> None:
        """A zygote died: what it left behind is this process's to end."""
        self._sweep_orphans()

    # -- the loop

    async def _is_done(self) -> bool:
        if self._rounds.has_work:
            return False
        if not self._stage.is_working:
            return True
        if not self._settings.until_empty or not self._intake.has_looked:
            return False
        try:
            return not self._store.has_unconfirmed and await self._store.is_empty()
        except TorilError as error:
            await self._rounds.recover(error)
            return False

    # -- what goes wrong

    def _on_lost(self, claim: Claim) -> None:
        if self._settlements.is_sent(claim):
            return  # Its lock is gone because it is settled, or its settlement will say otherwise.
        queue = self.queue.name
        correlation_id = of_job(queue, claim.id, claim.opts.correlation_id)
        self._emit(ev.LockLost(queue, claim.id, correlation_id))
        self._settlements.drop(claim)
        self._attempts.lose(claim)

    def _on_cancelled(self, claim: Claim) -> None:
        if not self._settlements.has(claim):
            self._attempts.cancel(claim)

    def _on_drain_deadline(self) -> None:
        if not self._stage.interrupt():
            return
        if self.running:
            self._emit(ev.DrainDeadline(self.queue.name, self.running))
        self._attempts.interrupt_all(at_once=False)
        self._wake.set()
