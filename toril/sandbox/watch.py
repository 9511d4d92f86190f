"""Keeps watch over one running attempt: its deadlines, its memory and its CPU time.

One timer for all of it: most jobs end before it fires once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from toril.sandbox.alarm import Alarm

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from toril.sandbox.limits import Limits
    from toril.sandbox.usage import Meter

POLL_S = 0.25
"""Between two looks at memory and CPU time; chosen: one look costs about 15 µs."""

MEMORY_HEADROOM = 1.25
"""Growth of the resident size over `memory_bytes` at which a child is killed; chosen: the limit on
private memory comes first, with a MemoryError that the job can handle, and libraries and inherited
pages that a job touches for the first time count here and not there."""

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


class Watch:
    """`begin` and `end` enclose an attempt."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits, watched: Watched) -> None:
        self._loop = loop
        self._limits = limits
        self._watched = watched
        self._alarm = Alarm(loop)
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._is_on = False
        self._is_over_cpu = False

    def begin(self, meter: Meter) -> None:
        """An attempt begins now."""
        self._meter = meter
        self._is_on, self._is_over_cpu = True, False
        now_s, limits = self._loop.time(), self._limits
        steps = [
            (STACK_SHARE * limits.timeout_s, self._watched.on_nearly_late),
            (limits.timeout_s, self._watched.on_deadline),
        ]
        if limits.soft_timeout_s is not None:
            steps.append((limits.soft_timeout_s, self._watched.on_soft_timeout))
        self._due = [(now_s + after_s, act) for after_s, act in sorted(steps, key=_after_s)]
        self._set(now_s)

    def end(self) -> None:
        """It is over."""
        self._is_on = False
        self._alarm.clear()

    def _set(self, now_s: float) -> None:
        polls = self._limits.memory_bytes is not None or self._limits.cpu_s is not None
        delays = [POLL_S] if polls else []
        if self._due:
            delays.append(max(0.0, self._due[0][0] - now_s))
        if delays:
            self._alarm.set(min(delays), self._on_time)

    def _on_time(self) -> None:
        while self._is_on and self._due and self._due[0][0] <= self._loop.time():
            _, act = self._due.pop(0)
            act()
        if self._is_on:
            self._look()
        if self._is_on:
            self._set(self._loop.time())

    def _look(self) -> None:
        limits = self._limits
        if limits.memory_bytes is not None:
            growth = self._meter.growth_now_bytes()
            if growth is not None and growth > limits.memory_bytes * MEMORY_HEADROOM:
                self._watched.on_over_memory(growth)
                return
        if limits.cpu_s is not None and not self._is_over_cpu:
            used_ms = self._meter.cpu_now_ms()
            if used_ms is not None and used_ms > limits.cpu_s * 1000:
                self._is_over_cpu = True
                self._watched.on_over_cpu(used_ms)


def _after_s(step: tuple[float, Callable[[], None]]) -> float:
    return step[0]
