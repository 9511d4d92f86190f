"""The children of one queue: as many as wanted, replaced when they die, never in a storm.

The pool owns the zygote and knows which child is idle. It does not know what a job is. A change
must keep this: a child is handed out at most once between two `on_idle`, and a pool that cannot
have children says so once, not once per try.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from toril.call import Verdict
from toril.errors import SandboxUnavailable
from toril.sandbox.launcher import Zygote
from toril.sandbox.states import State
from toril.units import format_ms

if TYPE_CHECKING:
    from toril.call import Call, Outcome
    from toril.sandbox.handle import Child
    from toril.sandbox.launcher import ZygoteSpec
    from toril.sandbox.listener import ChildExit

FIRST_DELAY_S = 0.1
"""Back-off after a second failure in a row; chosen: 1.4 ms of fork must not become a storm."""

MAX_DELAY_S = 30.0
"""Longest back-off; chosen: an operator who mends something is not kept waiting."""


class PoolListener(Protocol):
    """What a pool tells its worker; called on the loop."""

    def on_ready(self) -> None:
        """A child is idle."""

    def on_outcome(self, child: Child, call: Call, outcome: Outcome) -> None:
        """An attempt ended."""

    def on_progress(self, child: Child, call: Call, value: bytes) -> None:
        """A job reported progress, JSON text."""

    def on_log(self, child: Child, call: Call | None, stream: str, lines: list[str]) -> None:
        """A job logged or printed lines."""

    def on_update_data(self, child: Child, call: Call, value: bytes) -> None:
        """A job replaced its data, JSON text."""

    def on_death(self, exit: ChildExit) -> None:  # noqa: A002 - the sandbox's word
        """A child ended that was not asked to."""

    def on_orphans(self) -> None:
        """A zygote died: what it leaves behind is this process's to end."""

    def on_unavailable(self, error: SandboxUnavailable) -> None:
        """No child can be had; said once until `on_available`."""

    def on_available(self) -> None:
        """Children can be had again."""


def backoff_s(failures: int) -> float:
    """Seconds before the next try after so many failures in a row; the first try is at once."""
    if failures < 2:  # noqa: PLR2004 - one failure may be an accident
        return 0.0
    return min(FIRST_DELAY_S * 2.0 ** min(failures - 2, 16), MAX_DELAY_S)


class Pool:
    """Keeps `size` children of one zygote alive between `open()` and `close()`."""

    def __init__(self, spec: ZygoteSpec, size: int, listener: PoolListener) -> None:
        self._spec = spec
        self._size = size
        self._listener = listener
        self._zygote: Zygote | None = None
        self._idle: list[Child] = []
        self._children: set[Child] = set()
        self._failures = 0
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
        self._zygote = await Zygote.start(self._spec, self)
        self._refill()

    async def close(self) -> None:
        """End zygote and children; running jobs get their outcome first."""
        self._is_closing = True
        if self._refill_timer is not None:
            self._refill_timer.cancel()
        if self._restart is not None:
            self._restart.cancel()
            await asyncio.gather(self._restart, return_exceptions=True)
        if self._zygote is not None:
            await self._zygote.stop()

    @property
    def free(self) -> int:
        """Children that can take a call now."""
        return sum(child.state is State.IDLE for child in self._idle)

    @property
    def zygote_pid(self) -> int | None:
        """The zygote's process id while there is one."""
        return self._zygote.pid if self._zygote is not None else None

    def run(self, call: Call) -> Child:
        """Give a call to an idle child; there must be one."""
        child = next(child for child in self._idle if child.state is State.IDLE)
        self._idle.remove(child)
        child.run(call)
        return child

    def on_idle(self, child: Child) -> None:
        """A child is ready for a call (callback of the sandbox)."""
        if self._is_unavailable:
            self._is_unavailable = False
            self._listener.on_available()
        if child.jobs_run:
            self._failures = 0
        self._idle.append(child)
        self._listener.on_ready()

    def on_outcome(self, child: Child, call: Call, outcome: Outcome) -> None:
        """Handed on (callback of the sandbox)."""
        self._listener.on_outcome(child, call, outcome)

    def on_progress(self, child: Child, call: Call, value: bytes) -> None:
        """Handed on (callback of the sandbox)."""
        self._listener.on_progress(child, call, value)

    def on_log(self, child: Child, call: Call | None, stream: str, lines: list[str]) -> None:
        """Handed on (callback of the sandbox)."""
        self._listener.on_log(child, call, stream, lines)

    def on_update_data(self, child: Child, call: Call, value: bytes) -> None:
        """Handed on (callback of the sandbox)."""
        self._listener.on_update_data(child, call, value)

    def on_gone(self, child: Child, exit: ChildExit) -> None:  # noqa: A002 - the sandbox's word
        """A child is gone for good (callback of the sandbox); another takes its place."""
        self._children.discard(child)
        if child in self._idle:
            self._idle.remove(child)
        if self._is_closing:
            return
        if exit.reason is Verdict.LOST:
            return  # One death of a zygote is one failure: `on_zygote_gone` counts and tells it.
        self._failures = 0 if exit.expected else self._failures + 1
        if exit.reason is Verdict.UNAVAILABLE:
            self._report_unavailable(SandboxUnavailable(exit.message))
        elif not exit.expected:
            self._listener.on_death(exit)
        self._refill_later()

    def on_zygote_gone(self, zygote: Zygote, reason: str) -> None:
        """The zygote died (callback of the sandbox); its children are gone already."""
        if self._is_closing or zygote is not self._zygote:
            return
        self._zygote = None
        self._failures += 1
        self._listener.on_orphans()
        again = backoff_s(self._failures)
        self._report_unavailable(
            SandboxUnavailable(reason, f"Another is started in {format_ms(1000 * again)}")
        )
        self._restart = asyncio.get_running_loop().create_task(self._start_again())

    async def _start_again(self) -> None:
        while self._zygote is None:
            await asyncio.sleep(backoff_s(self._failures))
            try:
                self._zygote = await Zygote.start(self._spec, self)
            except SandboxUnavailable as error:
                self._failures += 1
                self._report_unavailable(error)
        self._refill()

    def _report_unavailable(self, error: SandboxUnavailable) -> None:
        if not self._is_unavailable:
            self._is_unavailable = True
            self._listener.on_unavailable(error)

    def _refill_later(self) -> None:
        delay_s = backoff_s(self._failures)
        if delay_s == 0 and self._refill_timer is None:
            self._refill()
        elif self._refill_timer is None:
            loop = asyncio.get_running_loop()
            self._refill_timer = loop.call_later(delay_s, self._refill)

    def _refill(self) -> None:
        self._refill_timer = None
        if self._zygote is None or self._is_closing:
            return
        taken = {child.slot for child in self._children}
        for slot in sorted(set(range(1, self._size + 1)) - taken):
            try:
                self._children.add(self._zygote.fork(slot))
            except SandboxUnavailable as error:
                self._failures += 1
                self._report_unavailable(error)
                self._refill_later()
                return
