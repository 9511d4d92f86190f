"""The attempts that run now: which claim is in which child, and what children say of them.

It sits between the worker's loop and the pool. A change must keep: every claim that is started
ends exactly once through `on_end`, with an outcome, whatever becomes of its child; only one whose
lock is lost before it has run ends without a word.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from toril import events as ev
from toril.call import Outcome, Verdict
from toril.correlation import of_job
from toril.runtime.retry import unrun
from toril.supervisor.calls import as_call, limits_of, zygote_spec
from toril.supervisor.foresight import Foresight
from toril.supervisor.hands import Hands
from toril.supervisor.line import WAITING_S, Line, Pace, Standing
from toril.supervisor.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from toril.call import Call
    from toril.errors import SandboxUnavailable
    from toril.runtime.claim import Claim
    from toril.runtime.retry import Policy
    from toril.sandbox.handle import Child
    from toril.sandbox.listener import ChildExit
    from toril.sandbox.record import Record
    from toril.sandbox.reply import Reply
    from toril.supervisor.listeners import Listeners
    from toril.supervisor.rehearsal import Rehearsal
    from toril.supervisor.reports import Reports
    from toril.supervisor.settings import QueueSettings

KEEP_S = 0.1
"""How long a checkpoint waits for a round trip that is made anyway; chosen: a job that makes one
after another costs Redis ten writes a second, a supervisor that dies costs the job 0.1 s."""


class AttemptsListener(Protocol):
    """What the worker is told; called on the loop."""

    def on_ready(self) -> None:
        """A child is free, or the line is short."""

    def on_end(self, claim: Claim, outcome: Outcome) -> None:
        """An attempt ended."""

    def on_said(self) -> None:
        """There is something to report."""

    def on_asked(self, claim: Claim, method: str, payload: bytes, reply: Reply) -> None:
        """A running job asks for something and waits."""

    def on_orphans(self) -> None:
        """A zygote died: what it left behind is this process's to end."""


class Attempts:
    """Starts claims in children and ends them; part of `pool_listener.PoolListener`.

    Attributes:
        listeners: told what begins and what jobs report; None without any.
        unavailable_since_s: since when no child can be had; None while one can.
    """

    def __init__(
        self,
        queue: QueueSettings,
        policy: Policy,
        reports: Reports,
        listener: AttemptsListener,
        emit: ev.Emit,
    ) -> None:
        self._queue = queue
        self._policy = policy
        self._reports = reports
        self._listener = listener
        self._emit = emit
        self._pool = Pool(zygote_spec(queue), queue.least_concurrency, self)
        self._running: dict[Child, Claim] = {}
        self._began_s: dict[Child, float] = {}
        self._hands = Hands()
        self._runs_one_only = limits_of(queue).max_jobs == 1
        self._line = Line(self._on_overdue)
        self._pace = Pace()
        self._foresight = Foresight(self.on_ready)
        self._is_over = False
        self._cancelled: set[str] = set()
        self._keeping: asyncio.TimerHandle | None = None
        self.unavailable_since_s: float | None = None
        self.listeners: Listeners | None = None

    async def open(self) -> None:
        """Start the children; raises as `Pool.open` does."""
        await self._pool.open()

    async def close(self) -> None:
        """End the children."""
        await self._pool.close()

    def __bool__(self) -> bool:
        """Is anything running, or about to?"""
        return bool(self._running or self._line)

    @property
    def running(self) -> int:
        """Jobs in children now."""
        return len(self._running)

    @property
    def free(self) -> int:
        """Children that can take a call now."""
        return self._pool.free

    @property
    def room(self) -> int:
        """Claims that can be taken now: one for each free child, and a little ahead."""
        return self._pool.free + max(0, self._most_ahead - self._waiting)

    @property
    def is_fed(self) -> bool:
        """Does enough stand in line, so that children go on without a claim for a moment?"""
        waiting = self._waiting
        return waiting > 0 and 2 * waiting >= self._short_ahead and waiting >= len(self._foresight)

    @property
    def _waiting(self) -> int:
        """Claims that stand in line, or lie ready in a child's hands."""
        return len(self._line) + len(self._hands)

    @property
    def _most_ahead(self) -> int:
        return max(self._short_ahead, len(self._foresight)) if self._may_be_ahead else 0

    @property
    def _short_ahead(self) -> int:
        """Short jobs that may wait, for all children."""
        return self._pace.ahead * self._pool.size

    @property
    def _may_be_ahead(self) -> bool:
        """A child that runs one job only has no next one, and one that is missing none at all.

        Where starts are counted, what goes back from the line would count as one.
        """
        return (
            self.unavailable_since_s is None
            and self._policy.max_started_attempts is None
            and not self._runs_one_only
        )

    @property
    def missing(self) -> tuple[str, ...]:
        """Waived mechanisms of the level that this host lacks."""
        return self._pool.missing

    @property
    def pool(self) -> Pool:
        """The children."""
        return self._pool

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What runs in children now."""
        return tuple(self._running.values())

    @property
    def zygote_pids(self) -> set[int]:
        """Every zygote that exists."""
        return self._pool.zygote_pids

    async def rehearse(self, queue: QueueSettings) -> Rehearsal:
        """Try out new settings and code; raises as `Pool.rehearse` does."""
        return await self._pool.rehearse(zygote_spec(queue))

    def adopt(self, queue: QueueSettings, policy: Policy, rehearsal: Rehearsal) -> None:
        """What starts from now on has these; what runs goes on as it began."""
        self._queue, self._policy = queue, policy
        self._runs_one_only = limits_of(queue).max_jobs == 1
        least, most = queue.least_concurrency, queue.concurrency
        self._pool.roll(rehearsal, max(least, min(self._pool.size, most)))

    @property
    def size(self) -> int:
        """Jobs at a time, and so children, as it is now."""
        return self._pool.size

    def take_peak(self) -> int:
        """Most jobs at a time since this was asked last."""
        return self._pool.take_peak()

    def resize(self, size: int) -> None:
        """Have more children, or fewer."""
        self._pool.resize(size)
        self.on_ready()

    @property
    def children(self) -> list[tuple[Child, Claim | None]]:
        """All children, each with what it runs."""
        return [(child, self._running.get(child)) for child in self._pool.children]

    def start(self, claim: Claim) -> None:
        """Run a claim, or end it without running it where that is what it says."""
        if self._is_over:
            self._end(claim, Outcome(Verdict.INTERRUPTED, message="the worker stops"))
        elif claim.token in self._cancelled:
            self._end(claim, _cancelled_unrun())
        elif (outcome := unrun(claim, self._policy)) is not None:
            self._end(claim, outcome)
        elif self._pool.free:
            self._run(claim)
        else:
            self._line.append(claim)

    def feed(self) -> None:
        """Lay what stands in line ready for the children at work."""
        if self._line and self._may_be_ahead:
            for child in self._running:
                self._feed(child)

    def _feed(self, child: Child) -> None:
        """Half a handful at a time: a child that is woken for each wakes us for each."""
        most, count = self._pace.ready, self._hands.count(child)
        if 2 * count > most:
            return
        for _ in range(min(most - count, len(self._line))):
            call = as_call(self._line.first, self._queue.name)
            if not self._pool.prefetch(child, call):
                return
            self._hands.put(child, call, self._line.pop())

    def _run(self, claim: Claim) -> None:
        self._begin(self._pool.run(as_call(claim, self._queue.name)), claim)

    def _begin(self, child: Child, claim: Claim) -> None:
        queue = self._queue.name
        self._running[child], self._began_s[child] = claim, time.monotonic()
        of = of_job(queue, claim.id, claim.opts.correlation_id)
        self._emit(ev.JobActive(queue, claim.id, claim.name, claim.attempts_started, of))
        if self.listeners is not None:
            self.listeners.active(claim)
        if self._pace.nearly_over_s is not None:
            self._foresight.begin(child, self._pace.nearly_over_s)

    def lose(self, claim: Claim) -> None:
        """Its lock is somebody else's: kill its child, let nothing of it be written."""
        self._recall(claim)
        self._line.remove(claim)
        if (child := self._child_of(claim)) is not None:
            child.kill(Verdict.LOCK_LOST)

    def cancel(self, claim: Claim) -> None:
        """Somebody cancelled its job: it ends, whatever it does."""
        was_given = self._recall(claim)
        if self._line.remove(claim):
            self._end(claim, _cancelled_unrun())
        elif (child := self._child_of(claim)) is not None:
            child.interrupt(Verdict.CANCELLED)
        elif not was_given:  # Else it has ended just now.
            self._cancelled.add(claim.token)

    def ask_stack(self, job_id: str, answer: Callable[[str], None]) -> None:
        """Where a job stands that runs here; no answer for one that does not."""
        for child, claim in self._running.items():
            if claim.id == job_id:
                child.ask_stack(answer)

    def lose_all(self) -> None:
        """Nothing can be written any more: kill what runs."""
        for child in list(self._running):
            child.recall()
        self._line.clear()
        for child in list(self._running):
            child.kill(Verdict.LOCK_LOST)

    def interrupt_all(self, *, at_once: bool) -> None:
        """Give everything back: ask what runs to stop, or kill it at once. Starts nothing more."""
        self._is_over = True
        for child in list(self._running):
            child.recall()
        self._give_back_line(Outcome(Verdict.INTERRUPTED, message="the worker stops"))
        for child in list(self._running):
            if at_once:
                child.kill(Verdict.INTERRUPTED)
            else:
                child.interrupt(Verdict.INTERRUPTED)

    # -- what the pool tells

    def on_ready(self) -> None:
        """A child is idle: who stands in line comes first, unless for too long."""
        self._line.hand_back_overdue()
        while self._line and self._pool.free:
            self.start(self._line.pop().claim)
        self.feed()
        if not self.is_fed:
            self._listener.on_ready()

    def on_outcome(self, child: Child, call: Call, outcome: Outcome) -> None:
        """An attempt ended."""
        del call
        ended = self._pop(child)
        self._pace.ran(time.monotonic() - ended.since_s)
        self._end(ended.claim, outcome)

    def on_next(self, child: Child, call: Call) -> None:
        """What lay ready has begun."""
        del call
        since_s, claim = self._hands.pop(child)
        self._begin(child, claim)
        if time.monotonic() - since_s > WAITING_S:
            child.recall()  # What lies behind it has waited about as long.
        elif self._line and self._may_be_ahead:
            self._feed(child)

    def on_recalled(self, child: Child, calls: list[Call]) -> None:
        """They wait again, for whoever is free; what the caller wants of them comes first."""
        waiting = self._hands.take(child, calls)
        if len(waiting) < len(calls):  # The one at work is among them: it had not begun.
            waiting.insert(0, self._pop(child))
        self._line.put_back(waiting)
        asyncio.get_running_loop().call_soon(self.on_ready)

    def on_progress(self, child: Child, call: Call, value: bytes) -> None:
        """Progress for the next round trip."""
        del call
        self._reports.progress(self._running[child], value)
        self._listener.on_said()
        if self.listeners is not None:
            self.listeners.progress(self._running[child], value)

    def on_update_data(self, child: Child, call: Call, value: bytes) -> None:
        """Data for the next round trip."""
        del call
        self._reports.data(self._running[child], value)
        self._listener.on_said()

    def on_checkpoint(self, child: Child, call: Call, value: bytes) -> None:
        """A state for the job's next attempt; it leaves with whatever does, or shortly after."""
        del call
        self._reports.checkpoint(self._running[child], value)
        if self._keeping is None:
            loop = asyncio.get_running_loop()
            self._keeping = loop.call_later(KEEP_S, self._on_keep)

    def on_log(self, child: Child | None, call: Call | None, stream: str, lines: list[str]) -> None:
        """Lines for the job's log and for ours."""
        claim = self._running.get(child) if child is not None and call is not None else None
        where = self._where(claim, call)
        for line in lines:
            self._emit(ev.JobOutput(where[0], where[1], stream, line, where[2]))
        if claim is not None:
            self._reports.log(claim, lines)
            self._listener.on_said()

    def on_record(self, child: Child, call: Call, record: Record) -> None:
        """A record of a job's `logging`, for the job's log and for ours."""
        claim = self._running[child]
        queue, job_id, of = self._where(claim, call)
        name, level, text = record.logger, record.level, record.text
        self._emit(ev.JobOutput(queue, job_id, "logging", text, of, name, level))
        self._reports.log(claim, [f"{level} {name}: {text}"])
        self._listener.on_said()

    def on_stack(self, child: Child, call: Call, text: str) -> None:
        """Where a job stands that has used most of its time; kept with the job."""
        del call
        self._reports.stack(self._running[child], text)
        self._listener.on_said()

    def on_call(self, child: Child, call: Call, method: str, payload: bytes, reply: Reply) -> None:
        """A job asks for something and waits."""
        del call
        self._listener.on_asked(self._running[child], method, payload, reply)

    def on_death(self, exit: ChildExit) -> None:  # noqa: A002 - the sandbox's word
        """A child ended that was not asked to."""
        self._emit(ev.ChildGone(self._queue.name, exit.pid or 0, exit.message))

    def on_orphans(self) -> None:
        """A zygote died."""
        self._listener.on_orphans()

    def on_unavailable(self, error: SandboxUnavailable) -> None:
        """No child can be had: nothing is claimed, and what has no child yet goes back."""
        self.unavailable_since_s = asyncio.get_running_loop().time()
        self._emit(ev.ClaimingPaused(self._queue.name, error.reason, error.remedy))
        self._give_back_line(Outcome(Verdict.UNAVAILABLE, message=error.reason))

    def on_available(self) -> None:
        """Children can be had again."""
        self.unavailable_since_s = None
        self._emit(ev.ClaimingResumed(self._queue.name))

    def _recall(self, claim: Claim) -> bool:
        """If a child was given it: it stands in line then, has begun, or has ended."""
        child = self._hands.holder(claim) or self._child_of(claim)
        if child is not None:
            child.recall()
        return child is not None

    def _pop(self, child: Child) -> Standing:
        """What it ran, and since when; it does no more."""
        self._foresight.end(child)
        return Standing(self._began_s.pop(child), self._running.pop(child))

    def _child_of(self, claim: Claim) -> Child | None:
        return next((child for child, one in self._running.items() if one is claim), None)

    def _where(self, claim: Claim | None, call: Call | None) -> tuple[str, str, str]:
        """Queue, job and correlation id of what was said."""
        queue, job_id = self._queue.name, call.job_id if call is not None else ""
        if claim is None:
            return queue, job_id, ""
        return queue, job_id, of_job(queue, job_id, claim.opts.correlation_id)

    def _end(self, claim: Claim, outcome: Outcome) -> None:
        self._cancelled.discard(claim.token)
        self._listener.on_end(claim, outcome)

    def _on_keep(self) -> None:
        self._keeping = None
        self._listener.on_said()

    def _on_overdue(self, claims: list[Claim]) -> None:
        """The job before them overruns: somebody else may be free, and none of us soon."""
        self._pace.ran(WAITING_S)
        self._foresight.clear()
        self._hand_back(claims, Outcome(Verdict.UNAVAILABLE, message="no child came free in time"))

    def _give_back_line(self, outcome: Outcome) -> None:
        self._hand_back(self._line.clear(), outcome)

    def _hand_back(self, claims: list[Claim], outcome: Outcome) -> None:
        """Each goes to the front of the queue, so the last one goes first."""
        for claim in reversed(claims):
            self._end(claim, outcome)


def _cancelled_unrun() -> Outcome:
    return Outcome(Verdict.CANCELLED, message="cancelled", detail={"stage": "waiting"})
