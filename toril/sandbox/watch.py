"""Keeps watch over one child: memory, threads and work directory always, and over its attempt.

One timer for all of it: most jobs end before it fires once. A child is looked at while it rests,
too, more seldom: code that has run in it may go on where nobody sees it, and an import may do as a
job does.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from toril.call import Verdict
from toril.sandbox import outcomes
from toril.sandbox.alarm import Alarm
from toril.sandbox.outcomes import Fault

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from toril.sandbox.limits import Limits
    from toril.sandbox.usage import Meter

POLL_S = 0.25
"""Between two looks at a job; chosen: one look costs about 20 µs."""

RESTING_POLL_S = 1.0
"""Between two looks at a child without a job; chosen: as many as a machine has cost it nothing."""

MEMORY_HEADROOM = 1.25
"""Growth of the resident size, mapped files left out, over `memory_bytes` at which a child is
killed; chosen: the limit on private memory comes first, with a MemoryError that the job can handle,
and inherited pages that a job touches for the first time count here and not there."""

STACK_SHARE = 0.8
"""Part of the hard timeout after which the stack is taken; given: late enough to be rare, early
enough to be read before the kill."""


class Guarded(Protocol):
    """The child: who takes too much of what the machine has must end, whatever it is at."""

    def kill_for(self, fault: Fault) -> None:
        """It has too much of something."""


class Watched(Protocol):
    """The attempt; each thing is told once."""

    def on_soft_timeout(self) -> None:
        """The soft timeout is over."""

    def on_nearly_late(self) -> None:
        """Most of the hard timeout is over."""

    def on_deadline(self) -> None:
        """The hard timeout is over."""

    def on_over_cpu(self, cpu_ms: float) -> None:
        """The attempt has used too much CPU time."""


class Watch:
    """`guard` begins it and `close` ends it; between them `begin` and `end` enclose attempts.

    Attributes:
        look_at_disk: measures the work directory beside the loop and calls back with what is
            wrong, empty for nothing; None: there is none to be watched.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits, guarded: Guarded) -> None:
        self._loop = loop
        self._limits = limits
        self._guarded = guarded
        self._alarm = Alarm(loop)
        self._steps = _steps(limits)
        self._is_bounded = limits.memory_bytes is not None or limits.max_threads is not None
        self.look_at_disk: Callable[[Callable[[str], None]], None] | None = None
        self._is_looking = False
        self._phase = 0
        self._next = 0
        self._begun_s = 0.0
        self._first_s: float | None = None
        self._meter: Meter | None = None
        self._watched: Watched | None = None
        self._is_over_cpu = False

    def guard(self, meter: Meter) -> None:
        """Look at what it measures from now on; no attempt is at work."""
        self._meter = meter
        self._first_s = None
        self._rest()

    def begin(self, watched: Watched) -> None:
        """An attempt begins now."""
        self._phase += 1
        self._watched = watched
        self._next = 0
        self._is_over_cpu = False
        self._begun_s = self._loop.time()
        if self._first_s is None:
            self._first_s = self._delay_s(0.0)
        self._alarm.set(self._first_s, self._on_time)

    def end(self) -> None:
        """It is over."""
        self._phase += 1
        self._watched = None
        self._rest()

    def close(self) -> None:
        """The child ends: nothing is looked at any more."""
        self._meter = self._watched = None
        self._alarm.clear()

    def _rest(self) -> None:
        if self._meter is not None and (self._is_bounded or self.look_at_disk):
            self._alarm.set(RESTING_POLL_S, self._on_rest)
        else:
            self._alarm.clear()

    def _on_rest(self) -> None:
        if self._meter is not None and self._is_within(self._meter):
            self._rest()

    def _delay_s(self, age_s: float) -> float:
        """Until what comes next; `age_s`: of the attempt."""
        polls = self._is_bounded or self._limits.cpu_s is not None or self.look_at_disk
        delays = [POLL_S] if polls else []
        if self._next < len(self._steps):
            delays.append(max(0.0, self._due_s() - age_s))
        return min(delays, default=RESTING_POLL_S)

    def _on_time(self) -> None:
        age_s = self._loop.time() - self._begun_s
        while self._watched and self._next < len(self._steps) and self._due_s() <= age_s:
            _, tell = self._steps[self._next]
            self._next += 1
            tell(self._watched)
        if self._watched and self._meter and self._is_within(self._meter):
            self._look_at_cpu(self._watched, self._meter)
            self._alarm.set(self._delay_s(age_s), self._on_time)

    def _due_s(self) -> float:
        return self._steps[self._next][0]

    def _is_within(self, meter: Meter) -> bool:
        """Look at what is bounded at all times; False when the child has had to end."""
        found = meter.growth_and_threads() if self._is_bounded else None
        if found and (fault := outcomes.excess(self._limits, MEMORY_HEADROOM, *found)):
            self._guarded.kill_for(fault)
            return False
        if self.look_at_disk is not None and not self._is_looking:
            self._is_looking = True
            self.look_at_disk(partial(self._on_disk, self._phase))
        return True

    def _on_disk(self, phase: int, why: str) -> None:
        """An answer may come when the attempt it was asked for is over."""
        self._is_looking = False
        if why and self._meter is not None and self._phase == phase:
            self._guarded.kill_for(Fault(Verdict.OVER_DISK, why))

    def _look_at_cpu(self, watched: Watched, meter: Meter) -> None:
        if self._limits.cpu_s is None or self._is_over_cpu:
            return
        used_ms = meter.cpu_now_ms()
        if used_ms is not None and used_ms > self._limits.cpu_s * 1000:
            self._is_over_cpu = True
            watched.on_over_cpu(used_ms)


def _steps(limits: Limits) -> list[tuple[float, Callable[[Watched], None]]]:
    """(age of the attempt in seconds, what is told then), in order."""
    steps: list[tuple[float, Callable[[Watched], None]]] = [
        (STACK_SHARE * limits.timeout_s, lambda watched: watched.on_nearly_late()),
        (limits.timeout_s, lambda watched: watched.on_deadline()),
    ]
    if limits.soft_timeout_s is not None:
        steps.append((limits.soft_timeout_s, lambda watched: watched.on_soft_timeout()))
    return sorted(steps, key=lambda step: step[0])
