"""A timer that can be set again and cleared."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_TICK_S = 0.001
"""A timer is not early by less; given: what uvloop's clock counts in."""


class Alarm:
    """At most one pending call on a loop.

    Set again to a later time, it keeps the loop's timer and looks when that fires: what is put off
    again and again costs no timer each time.
    """

    __slots__ = ("_action", "_due_s", "_fires_s", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None
        self._action: Callable[[], None] | None = None
        self._due_s = self._fires_s = 0.0

    def set(self, delay_s: float, action: Callable[[], None]) -> None:
        """Call `action` after `delay_s`, and forget what was set before."""
        self._action = action
        self._due_s = self._loop.time() + delay_s
        if self._handle is not None:
            if self._fires_s <= self._due_s:
                return
            self._handle.cancel()
        self._start(delay_s)

    def clear(self) -> None:
        """Forget what was set."""
        self._action = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _start(self, delay_s: float) -> None:
        self._fires_s = self._due_s
        self._handle = self._loop.call_later(delay_s, self._on_time)

    def _on_time(self) -> None:
        self._handle = None
        left_s = self._due_s - self._loop.time()
        if left_s >= _TICK_S:
            self._start(left_s)
            return
        action, self._action = self._action, None
        if action is not None:
            action()
