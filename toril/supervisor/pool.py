"""The children of one queue: as many as wanted, replaced when they die, never in a storm.

The pool owns the zygote and knows which child is idle. It does not know what a job is, and who is
replaced by whom stands in `succession.py`. A change must keep this: a child is handed out at most
once between two `on_idle`, never more than `size` jobs run, and a pool that cannot have children
says so once, not once per try.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from toril.call import Verdict
from toril.errors import ProcessorImportError, SandboxUnavailable
from toril.sandbox.states import BUSY, State
from toril.supervisor.rehearsal import Rehearsal
from toril.supervisor.succession import Succession
from toril.supervisor.zygotes import Zygotes
from toril.units import format_ms

if TYPE_CHECKING:
    from toril.call import Call, Outcome
    from toril.sandbox.handle import Child
    from toril.sandbox.launcher import Zygote, ZygoteSpec
    from toril.sandbox.listener import ChildExit
    from toril.sandbox.record import Record
    from toril.sandbox.reply import Reply
    from toril.supervisor.pool_listener import PoolListener

FIRST_DELAY_S = 0.1
"""Back-off after a second failure in a row; chosen: 1.4 ms of fork must not become a storm."""

MAX_DELAY_S = 30.0
"""Longest back-off; chosen: an operator who mends something is not kept waiting."""


def backoff_s(failures: int) -> float:
    """Seconds before the next try after so many failures in a row; the first try is at once."""
    if failures < 2:  # noqa: PLR2004 - one failure may be an accident
        return 0.0
    return min(FIRST_DELAY_S * 2.0 ** min(failures - 2, 16), MAX_DELAY_S)


class Pool:
    """Keeps `size` children of one zygote alive between `open()` and `close()`.

    Attributes:
        hears: events that its listeners take, if it runs listeners; None while nobody knows.
        names: job names that its processor has functions for; empty where it takes all.
        ends: how children ended, and how many: a verdict, or `retired`.
    """

    def __init__(self, spec: ZygoteSpec, size: int, listener: PoolListener) -> None:
        self.hears: frozenset[str] | None = None
        self.names: frozenset[str] = frozenset()
        self.ends: Counter[str] = Counter()
        self._spec = spec
        self._size = size
        self._listener = listener
        self._zygotes = Zygotes()
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._succession = Succession()
        self._peak = 0
        self._failures = 0
        self._stillborn = 0
        self._is_unavailable = False
        self._is_closing = False
        self._refill_timer: asyncio.TimerHandle | None = None
        self._restart: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start the zygote and ask for every child.

        Raises:
            ProcessorImportError: the processor cannot be imported, or is not one.
            SandboxUnavailable: no child can be set up here.
        """
        await self._start()
        self._refill()

    async def close(self) -> None:
        """End zygote and children; running jobs get their outcome first."""
        self._is_closing = True
        if self._refill_timer is not None:
            self._refill_timer.cancel()
        if self._restart is not None:
            self._restart.cancel()
            await asyncio.gather(self._restart, return_exceptions=True)
        await self._zygotes.close()

    @property
    def _zygote(self) -> Zygote | None:
        return self._zygotes.current

    @property
    def free(self) -> int:
        """Calls that can be taken now."""
        return max(0, min(len(self._offered()), self._size - len(self._busy)))

    @property
    def missing(self) -> tuple[str, ...]:
        """Waived mechanisms of the level that this host lacks."""
        return self._zygote.missing if self._zygote is not None else ()

    @property
    def zygote_pid(self) -> int | None:
        """The process that new children come from, while there is one."""
        return self._zygote.pid if self._zygote is not None else None

    @property
    def zygote_pids(self) -> set[int]:
        """Every zygote that exists, starting and leaving ones included."""
        return self._zygotes.pids

    @property
    def children(self) -> list[Child]:
        """All that there are, those on their way in or out included."""
        return list(self._succession.services)

    def run(self, call: Call) -> Child:
        """Give a call to an idle child; there must be one."""
        offered = self._offered()
        child = offered[0] if len(offered) == 1 else min(offered, key=self._rank)
        self._idle.remove(child)
        self._busy.add(child)
        self._peak = max(self._peak, len(self._busy))
        child.run(call)
        self._replace_if_worn(child)
        return child

    def prefetch(self, child: Child, call: Call) -> bool:
        """Lay a call ready for a child at work; False where it is not to have another one now."""
        if child.slot > self._size or self._succession.is_spent(child) or not child.prefetch(call):
            return False
        self._replace_if_worn(child)
        return True

    def _rank(self, child: Child) -> tuple[bool, int]:
        """Who is to be replaced comes last, and among equals the first slot goes first."""
        return child in self._succession.successors, child.slot

    def on_idle(self, child: Child) -> None:
        """A child is ready for a call (callback of the sandbox)."""
        if self._is_unavailable:
            self._is_unavailable = False
            self._listener.on_available()
        if child.jobs_run:
            self._failures = 0
        else:
            self._stillborn = 0
        for predecessor in self._succession.take_over(child):
            self._let_go(predecessor)
        self._replace_if_worn(child)
        if child.slot > self._size or self._succession.is_spent(child):
            child.retire()
            return
        self._idle.append(child)
        self._listener.on_ready()

    def on_outcome(self, child: Child, call: Call, outcome: Outcome) -> None:
        """Handed on (callback of the sandbox)."""
        if child.state not in BUSY:
            self._busy.discard(child)
        self._listener.on_outcome(child, call, outcome)
        if len(self._succession.services) > self._size and self.free:
            self._listener.on_ready()  # A successor is idle, and its predecessor goes.

    def on_next(self, child: Child, call: Call) -> None:
        """Handed on (callback of the sandbox); it goes on well without being idle."""
        self._failures = 0
        self._listener.on_next(child, call)

    def on_recalled(self, child: Child, calls: list[Call]) -> None:
        """Handed on (callback of the sandbox)."""
        self._listener.on_recalled(child, calls)

    def on_progress(self, child: Child, call: Call, value: bytes) -> None:
        """Handed on (callback of the sandbox)."""
        self._listener.on_progress(child, call, value)

    def on_log(self, child: Child | None, call: Call | None, stream: str, lines: list[str]) -> None:
        """Handed on (callback of the sandbox)."""
        self._listener.on_log(child, call, stream, lines)

    def on_record(self, child: Child, call: Call, record: Record) -> None:
        """Handed on (callback of the sandbox)."""
        self._listener.on_record(child, call, record)

    def on_update_data(self, child: Child, call: Call, value: bytes) -> None:
        """Handed on (callback of the sandbox)."""
        self._listener.on_update_data(child, call, value)

    def on_checkpoint(self, child: Child, call: Call, value: bytes) -> None:
        """Handed on (callback of the sandbox)."""
        self._listener.on_checkpoint(child, call, value)

    def on_stack(self, child: Child, call: Call, text: str) -> None:
        """Handed on (callback of the sandbox)."""
        self._listener.on_stack(child, call, text)

    def on_call(self, child: Child, call: Call, method: str, payload: bytes, reply: Reply) -> None:
        """Handed on (callback of the sandbox)."""
        self._listener.on_call(child, call, method, payload, reply)

    def on_gone(self, child: Child, exit: ChildExit) -> None:  # noqa: A002 - the sandbox's word
        """A child is gone for good (callback of the sandbox); another takes its place."""
        self._forget(child)
        if self._is_closing:
            return
        self.ends[exit.reason.value if exit.reason is not None else "retired"] += 1
        if exit.is_orphan:
            return  # One death of a zygote is one failure: `on_zygote_gone` counts and tells it.
        if exit.reason in {Verdict.UNAVAILABLE, Verdict.IMPORT_FAILED}:
            self._stillborn += 1
            self._on_stillborn(exit)
        else:
            self._failures = 0 if exit.expected else self._failures + 1
            if not exit.expected:
                self._listener.on_death(exit)
        self._refill_later()

    def _on_stillborn(self, exit: ChildExit) -> None:  # noqa: A002 - the sandbox's word
        """A child could not be set up: with others at work that is a death like any other."""
        if self._busy or self._offered():
            self._listener.on_death(exit)
        elif exit.reason is Verdict.IMPORT_FAILED:
            error = ProcessorImportError(exit.message, exit.remedy, exit.traceback)
            self._report_unavailable(error)
        else:
            self._report_unavailable(SandboxUnavailable(exit.message, exit.remedy))

    def on_zygote_gone(self, zygote: Zygote, reason: str) -> None:
        """The zygote died (callback of the sandbox); its children are gone already."""
        is_current = self._zygotes.lost(zygote)
        if self._is_closing:
            return
        if not is_current:
            self._listener.on_orphans()
            self._refill()
            return
        self._failures += 1
        self._listener.on_orphans()
        again = backoff_s(self._failures)
        self._report_unavailable(
            SandboxUnavailable(reason, f"Another is started in {format_ms(1000 * again)}")
        )
        self._restart = asyncio.get_running_loop().create_task(self._start_again())

    async def _start(self) -> None:
        zygote = await self._zygotes.start(self._spec, self)
        self._zygotes.use(zygote)
        self.hears, self.names = zygote.hears, zygote.names

    async def _start_again(self) -> None:
        while self._zygote is None:
            await asyncio.sleep(backoff_s(self._failures))
            try:
                await self._start()
            except SandboxUnavailable as error:
                self._failures += 1
                self._report_unavailable(error)
            except Exception as error:  # noqa: BLE001 - who gives up here never has children again
                self._failures += 1
                words = f"the zygote could not be started: {type(error).__name__}: {error}"
                self._report_unavailable(SandboxUnavailable(words))
        self._refill()

    def _report_unavailable(self, error: SandboxUnavailable) -> None:
        if not self._is_unavailable:
            self._is_unavailable = True
            self._listener.on_unavailable(error)

    def _refill_later(self) -> None:
        delay_s = backoff_s(max(self._failures, self._stillborn))
        if delay_s == 0 and self._refill_timer is None:
            self._refill()
        elif self._refill_timer is None:
            loop = asyncio.get_running_loop()
            self._refill_timer = loop.call_later(delay_s, self._refill)

    def _refill(self) -> None:
        self._refill_timer = None
        if self._zygote is None or self._is_closing:
            return
        for slot in sorted(set(range(1, self._size + 1)) - self._succession.slots):
            try:
                self._fork(self._zygote, slot)
            except SandboxUnavailable as error:
                self._failures += 1
                self._report_unavailable(error)
                self._refill_later()
                return

    # -- replacing all of them

    async def rehearse(self, spec: ZygoteSpec) -> Rehearsal:
        """Try out what `roll` is to bring, while everything goes on; or `drop` it.

        Raises:
            ProcessorImportError, SandboxUnavailable: as `open` does; nothing is left of it.
        """

        def on_lines(stream: str, lines: list[str]) -> None:
            self._listener.on_log(None, None, stream, lines)

        rehearsal = Rehearsal(spec, self._zygotes, on_lines)
        await rehearsal.run()
        return rehearsal

    def roll(self, rehearsal: Rehearsal, size: int) -> None:
        """Children come from the new zygote; each old one ends when its successor is idle.

        Jobs that run go on to their end. Never more than `size` run, old and new together.
        """
        zygote, first = rehearsal.zygote, rehearsal.child
        if zygote is None or first is None or self._is_closing:
            return
        if self._restart is not None:
            self._restart.cancel()
        self._spec, self._size, self.hears = rehearsal.spec, size, zygote.hears
        self._failures = self._stillborn = 0
        self._succession.begin_anew()
        self._zygotes.use(zygote)
        zygote.hand_over(self)
        self._succession.add(first, self._spec.limits)
        self._replace_outdated(first)
        self._refill()
        self.on_idle(first)

    def _replace_outdated(self, first: Child) -> None:
        """One successor for each slot that remains; the first is there already."""
        newest, others = self._succession.outdated()
        for child in others:
            self._let_go(child)
        for child in newest:
            if child.slot > self._size:
                self._let_go(child)
            elif child.slot == first.slot:
                self._succession.successors[child] = first
            else:
                self._replace_if_worn(child)

    @property
    def size(self) -> int:
        """Jobs at a time, and so children, as it is now."""
        return self._size

    def take_peak(self) -> int:
        """Most jobs at a time since this was asked last."""
        peak, self._peak = self._peak, len(self._busy)
        return peak

    def resize(self, size: int) -> None:
        """Have more children, or fewer: idle ones end, busy ones after their job."""
        self._size = size
        for child in [child for child in self._idle if child.slot > size]:
            self._let_go(child)
        self._refill()

    def _let_go(self, child: Child) -> None:
        if child in self._idle:
            self._idle.remove(child)
        child.retire()

    # -- one child

    def _fork(self, zygote: Zygote, slot: int) -> Child:
        child = zygote.fork(slot)
        self._succession.add(child, self._spec.limits)
        return child

    def _offered(self) -> list[Child]:
        return [child for child in self._idle if child.state is State.IDLE]

    def _replace_if_worn(self, child: Child) -> None:
        """Fork a worn child's successor, unless forking fails just now: then it serves on."""
        if not self._succession.needs_successor(child):
            return
        if self._zygote is None or self._is_closing or self._failures:
            return
        with suppress(SandboxUnavailable):
            self._succession.successors[child] = self._fork(self._zygote, child.slot)

    def _forget(self, child: Child) -> None:
        self._succession.forget(child)
        self._zygotes.end_empty()
        self._busy.discard(child)
        if child in self._idle:
            self._idle.remove(child)
