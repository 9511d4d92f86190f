"""Keeps watch over one running attempt: deadlines, memory, CPU time, and its work directory.

One timer for all of it: most jobs end before it fires once.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from toril.sandbox.alarm import Alarm

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from toril.sandbox.limits import Limits
    from toril.sandbox.usage import Meter

POLL_S = 0.25
"""Between two looks at memory and CPU time; chosen: one look costs about 20 µs."""

MEMORY_HEADROOM = 1.25
"""Growth of the resident size, mapped files left out, over `memory_bytes` at which a child is
killed; chosen: the limit on private memory comes first, with a MemoryError that the job can handle,
and inherited pages that a job touches for the first time count here and not there."""

STACK_SHARE = 0.8
"""Part of the hard timeout after which the stack is taken; given: late enough to be rare, early
enough to be read before the kill."""


class Watched(Protocol):
    """Who is told; each thing once for an attempt."""

    def on_soft_timeout(self) -> None:
        """The soft timeout is over."""

    def on_nearly_late(self) -> None:
        """Most of the hard timeout is over."""

    def on_deadline(self) -> None:
        """The hard timeout is over."""

    def on_over_memory(self, growth_bytes: int) -> None:
        """The child has grown too much since READY."""

    def on_over_cpu(self, cpu_ms: float) -> None:
        """The attempt has used too much CPU time."""

    def on_over_disk(self, why: str) -> None:
        """The work directory holds too much, or hides what it holds."""


class Watch:
    """`begin` and `end` enclose an attempt.

    Attributes:
        look_at_disk: measures the work directory beside the loop and calls back with what is
            wrong, empty for nothing; None: there is none to be watched.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        self._loop = loop
        self._limits = limits
        self._alarm = Alarm(loop)
        self._steps = _steps(limits)
        self._polls = limits.memory_bytes is not None or limits.cpu_s is not None
        self.look_at_disk: Callable[[Callable[[str], None]], None] | None = None
        self._is_looking = False
        self._next = 0
        self._begun_s = 0.0
        self._watched: Watched | None = None
        self._is_over_memory = False
        self._is_over_cpu = False

    def begin(self, meter: Meter, watched: Watched) -> None:
        """An attempt begins now."""
        self._meter, self._watched = meter, watched
        self._next = 0
        self._is_over_memory = self._is_over_cpu = False
        self._begun_s = self._loop.time()
        self._set(0.0)

    def end(self) -> None:
        """It is over."""
        self._watched = None
        self._alarm.clear()

    def _set(self, age_s: float) -> None:
        """Set the timer for what comes next; `age_s`: of the attempt."""
        delays = [POLL_S] if self._polls or self.look_at_disk else []
        if self._next < len(self._steps):
            delays.append(max(0.0, self._steps[self._next][0] - age_s))
        if delays:
            self._alarm.set(min(delays), self._on_time)

    def _on_time(self) -> None:
        age_s = self._loop.time() - self._begun_s
        while self._watched and self._next < len(self._steps) and self._due_s() <= age_s:
            _, tell = self._steps[self._next]
            self._next += 1
            tell(self._watched)
        if self._watched:
            self._look(self._watched)
        if self._watched:
            self._set(age_s)

    def _due_s(self) -> float:
        return self._steps[self._next][0]

    def _look(self, watched: Watched) -> None:
        limits = self._limits
        if limits.memory_bytes is not None and not self._is_over_memory:
            growth = self._meter.growth_now_bytes()
            if growth is not None and growth > limits.memory_bytes * MEMORY_HEADROOM:
                self._is_over_memory = True
                watched.on_over_memory(growth)
                return
        if limits.cpu_s is not None and not self._is_over_cpu:
            used_ms = self._meter.cpu_now_ms()
            if used_ms is not None and used_ms > limits.cpu_s * 1000:
                self._is_over_cpu = True
                watched.on_over_cpu(used_ms)
        if self.look_at_disk is not None and not self._is_looking:
            self._is_looking = True
            self.look_at_disk(partial(self._on_disk, watched))

    def _on_disk(self, watched: Watched, why: str) -> None:
        """An answer may come when the attempt it was asked for is over."""
        self._is_looking = False
        if why and self._watched is watched:
            watched.on_over_disk(why)


def _steps(limits: Limits) -> list[tuple[float, Callable[[Watched], None]]]:
    """(age of the attempt in seconds, what is told then), in order."""
    steps: list[tuple[float, Callable[[Watched], None]]] = [
        (STACK_SHARE * limits.timeout_s, lambda watched: watched.on_nearly_late()),
        (limits.timeout_s, lambda watched: watched.on_deadline()),
    ]
    if limits.soft_timeout_s is not None:
        steps.append((limits.soft_timeout_s, lambda watched: watched.on_soft_timeout()))
    return sorted(steps, key=lambda step: step[0])
