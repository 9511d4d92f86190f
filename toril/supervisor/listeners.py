"""The user's listeners: events go to a child of their own, batch by batch, and nobody waits.

No code of theirs runs in this process. A change must keep: telling an event never waits and never
fails, an event is handed over at most once, and whatever a listener does is told in the log and
reaches no job.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from toril import events as ev
from toril.call import Call, Outcome, Verdict
from toril.errors import InvalidInput
from toril.supervisor import news
from toril.supervisor.backlog import Backlog, Waiting
from toril.supervisor.calls import listeners_call, listeners_spec
from toril.supervisor.pool import Pool
from toril.units import format_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from toril.errors import SandboxUnavailable
    from toril.runtime.claim import Claim
    from toril.runtime.store import Ending
    from toril.sandbox.handle import Child
    from toril.sandbox.listener import ChildExit
    from toril.sandbox.record import Record
    from toril.sandbox.reply import Reply
    from toril.supervisor.rehearsal import Rehearsal
    from toril.supervisor.settings import QueueSettings

GATHER_S = 0.005
"""From an event to the call that takes it along; chosen: at most 200 calls a second, whatever the
queue does."""

DRAIN_S = 5.0
"""For what waits when the worker stops; chosen: half of what the shortest service managers give."""

TELL_AGAIN_S = 10.0
"""How often drops, and failures of one listener, are told; chosen: the log stays readable."""

_DROPS = "drops"
"""Told now and then, beside the names of listeners."""

_MAX_DIGITS = 4
"""Longest number of an event in its batch."""


class Listeners:
    """Hands events to listeners; part of `pool_listener.PoolListener`.

    Args:
        queue: the settings, which name listeners.
        emit: the log.
        sweep_orphans: ends what a dead zygote left behind.
    """

    def __init__(
        self, queue: QueueSettings, emit: ev.Emit, sweep_orphans: Callable[[], None]
    ) -> None:
        self.on_orphans = sweep_orphans
        self._queue = queue.name
        self._limit_s = queue.listener_timeout_s
        self._emit = emit
        self._pool = Pool(listeners_spec(queue), 1, self)
        self._backlog = Backlog()
        self._batch: list[Waiting] = []
        self._at = 0
        self._began_s = 0.0
        self._late: Waiting | None = None
        self._child: Child | None = None
        self._gathering: asyncio.TimerHandle | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._quiet = asyncio.Event()
        self._is_available = False
        self._is_hurried = False
        self._is_over = False
        self._told_s: dict[str, float] = {}
        self._failures: dict[str, int] = {}

    @property
    def dropped(self) -> int:
        """Events that were not handed over."""
        return self._backlog.dropped

    @property
    def zygote_pid(self) -> int | None:
        """The process that forks their child, while there is one."""
        return self._pool.zygote_pid

    @property
    def zygote_pids(self) -> set[int]:
        """Every zygote that exists."""
        return self._pool.zygote_pids

    async def rehearse(self, queue: QueueSettings) -> Rehearsal:
        """Try out new listeners; raises as `Pool.rehearse` does."""
        return await self._pool.rehearse(listeners_spec(queue))

    def adopt(self, queue: QueueSettings, rehearsal: Rehearsal) -> None:
        """The next batch goes to these."""
        self._limit_s = queue.listener_timeout_s
        self._pool.roll(rehearsal, 1)

    async def open(self) -> None:
        """Start their child; raises as `Pool.open` does."""
        await self._pool.open()
        self._is_available = True

    async def close(self) -> None:
        """Hand over what waits, within bounds, and end their child."""
        can_wait = self._is_available and not self._is_hurried
        if can_wait and (self._batch or self._backlog):
            self._quiet.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await self._quiet.wait()
        self._is_over = True
        self._backlog.give_up()
        for timer in (self._gathering, self._clock):
            if timer is not None:
                timer.cancel()
        await self._pool.close()
        if self.dropped:
            self._emit(ev.ListenerEventsDropped(self._queue, self.dropped))

    def hurry(self) -> None:
        """The worker stops at once: what waits is given up."""
        self._is_hurried = True
        self._quiet.set()

    # -- what happens

    def active(self, claim: Claim) -> None:
        """An attempt began."""
        if self._wants("active"):
            self._put(news.active(self._queue, claim))

    def progress(self, claim: Claim, value: bytes) -> None:
        """A job reported progress, JSON text."""
        if self._wants("progress"):
            self._put(news.progress(self._queue, claim, value))

    def settled(self, ending: Ending) -> None:
        """An attempt ended and Redis has it."""
        for one in news.endings(self._queue, ending):
            if self._wants(one["event"]):
                self._put(one)

    def overhear(self, event: ev.Event) -> None:
        """Write to the log, and tell the listeners what they want of it."""
        self._emit(event)
        for one in news.overheard(event):
            if self._wants(one["event"]):
                self._put(one)

    def _wants(self, name: str) -> bool:
        """Does somebody listen to this, and is there room for it? What has none is counted."""
        hears = self._pool.hears
        if hears is not None and name not in hears:
            return False
        if not (self._is_over or self._backlog.is_full):
            return True
        self._backlog.dropped += 1
        if not self._is_over and self._may_tell(_DROPS):
            self._emit(ev.ListenerEventsDropped(self._queue, self.dropped))
        return False

    def _put(self, one: news.News) -> None:
        self._backlog.put(Waiting(one["event"], one["job_id"], news.text(one)))
        self._gather()

    # -- handing over

    def _gather(self) -> None:
        if self._gathering is None and self._backlog and not self._batch and not self._is_over:
            loop = asyncio.get_running_loop()
            self._gathering = loop.call_later(GATHER_S, self._hand_over)

    def _hand_over(self) -> None:
        self._gathering = None
        if self._batch or not self._pool.free:
            return  # When the child is free again, `on_ready` comes.
        self._batch = self._backlog.take()
        self._at, self._late = 0, None
        self._began_s = asyncio.get_running_loop().time()
        texts = [event.text for event in self._batch]
        self._child = self._pool.run(listeners_call(self._queue, texts))
        self._look_in(self._limit_s)

    def _look_in(self, delay_s: float) -> None:
        self._clock = asyncio.get_running_loop().call_later(delay_s, self._look)

    def _look(self) -> None:
        """One timer for a batch: it finds whether the event at work has had its time."""
        left_s = self._began_s + self._limit_s - asyncio.get_running_loop().time()
        if left_s > 0:
            self._look_in(left_s)
        elif self._child is not None:
            self._late = self._batch[self._at]
            self._child.interrupt(Verdict.TIMED_OUT)

    # -- what the pool tells

    def on_ready(self) -> None:
        """Their child is idle."""
        self._gather()

    def on_progress(self, child: Child, call: Call, value: bytes) -> None:
        """It has come to the event of this number; anything else is a listener's own nonsense."""
        del child, call
        number = int(value) if value.isdigit() and len(value) <= _MAX_DIGITS else 0
        if self._at < number < len(self._batch):
            self._at = number
            self._began_s = asyncio.get_running_loop().time()

    def on_outcome(self, child: Child, call: Call, outcome: Outcome) -> None:
        """A batch ended: well, or with one event to blame and others still to be handed over."""
        del child, call
        batch, self._batch, self._child = self._batch, [], None
        if self._clock is not None:
            self._clock.cancel()
        if self._is_over:
            if outcome.verdict is not Verdict.RETURNED:
                self._backlog.dropped += len(batch) - self._at
            return
        if outcome.verdict is not Verdict.RETURNED:
            self._tell_failure(self._late or batch[self._at], outcome)
            self._backlog.put_back(batch[self._at + 1 :])
        self._gather()
        if not self._backlog:
            self._quiet.set()

    def on_log(self, child: Child | None, call: Call | None, stream: str, lines: list[str]) -> None:
        """They printed lines."""
        del child, call
        for line in lines:
            self._emit(ev.JobOutput(self._queue, "", f"listeners {stream}", line))

    def on_record(self, child: Child, call: Call, record: Record) -> None:
        """They logged a record."""
        del child, call
        name, level = record.logger, record.level
        self._emit(ev.JobOutput(self._queue, "", "listeners logging", record.text, "", name, level))

    def on_next(self, child: Child, call: Call) -> None:
        """Never: one batch at a time."""

    def on_recalled(self, child: Child, calls: list[Call]) -> None:
        """Never."""

    def on_update_data(self, child: Child, call: Call, value: bytes) -> None:
        """Not for listeners; nothing follows."""

    def on_checkpoint(self, child: Child, call: Call, value: bytes) -> None:
        """Not for listeners; nothing follows."""

    def on_stack(self, child: Child, call: Call, text: str) -> None:
        """Not for listeners; nothing follows."""

    def on_call(self, child: Child, call: Call, method: str, payload: bytes, reply: Reply) -> None:
        """Refused: a listener has no job to ask for."""
        del child, call, payload
        reply.refuse(InvalidInput(f"a listener cannot ask for {method!r}"))

    def on_death(self, exit: ChildExit) -> None:  # noqa: A002 - the sandbox's word
        """Their child ended that was not asked to; another takes its place."""
        how = f"of the listeners {exit.message}"
        self._emit(ev.ChildGone(self._queue, exit.pid or 0, how))

    def on_unavailable(self, error: SandboxUnavailable) -> None:
        """No child can be had for them: events wait, and are dropped when there is no room."""
        self._is_available = False
        self._quiet.set()
        self._emit(ev.ListenersPaused(self._queue, error.reason, error.remedy))

    def on_available(self) -> None:
        """They have a child again."""
        self._is_available = True
        self._emit(ev.ListenersResumed(self._queue))

    def _tell_failure(self, event: Waiting, outcome: Outcome) -> None:
        self._failures[event.name] = self._failures.get(event.name, 0) + 1
        if not self._may_tell(event.name):
            return
        reason = outcome.message.removeprefix("the processor ") or outcome.verdict.value
        if self._late is not None:
            reason = f"took more than {format_ms(self._limit_s * 1000)}"
        elif outcome.verdict is Verdict.RAISED:
            reason = f"{outcome.error_name}: {reason}"
        failures = self._failures.pop(event.name)
        stack = outcome.stack
        self._emit(
            ev.ListenerFailed(self._queue, event.name, event.job_id, reason, failures, stack)
        )

    def _may_tell(self, what: str) -> bool:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._told_s.get(what, -TELL_AGAIN_S) < TELL_AGAIN_S:
            return False
        self._told_s[what] = now_s
        return True
