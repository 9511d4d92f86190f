"""Which long jobs are nearly over: foreseen from how long the ones before them took."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from toril.supervisor.line import AHEAD_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from toril.sandbox.handle import Child

OVERDUE_S = 2 * AHEAD_S
"""How long a job is nearly over; chosen: those it was judged by differ by half of it at most. One
that goes on after that is not like them, and nobody knows when it will end."""


class Foresight:
    """The children whose jobs are nearly over; its length is how many.

    Args:
        on_nearly_over: told when there is one more.
    """

    def __init__(self, on_nearly_over: Callable[[], None]) -> None:
        self._on_nearly_over = on_nearly_over
        self._timers: dict[Child, asyncio.TimerHandle] = {}
        self._nearly_over: set[Child] = set()

    def __len__(self) -> int:
        """Children whose jobs are nearly over."""
        return len(self._nearly_over)

    def begin(self, child: Child, after_s: float) -> None:
        """Its job has begun, and will be nearly over after that long; `end` must follow."""
        loop = asyncio.get_running_loop()
        self._timers[child] = loop.call_later(after_s, self._enter, child)

    def end(self, child: Child) -> None:
        """Its job is over; one that `begin` was not told of is no mistake."""
        if (timer := self._timers.pop(child, None)) is not None:
            timer.cancel()
            self._nearly_over.discard(child)

    def clear(self) -> None:
        """None is nearly over, as was found out."""
        self._nearly_over.clear()

    def _enter(self, child: Child) -> None:
        self._nearly_over.add(child)
        loop = asyncio.get_running_loop()
        self._timers[child] = loop.call_later(OVERDUE_S, self._nearly_over.discard, child)
        self._on_nearly_over()
