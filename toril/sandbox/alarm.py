"""A timer that can be set again and cleared."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Alarm:
    """At most one pending call on a loop."""

    __slots__ = ("_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    def set(self, delay_s: float, action: Callable[[], None]) -> None:
        """Call `action` after `delay_s`, and forget what was set before."""
        self.clear()
        self._handle = self._loop.call_later(delay_s, action)

    def clear(self) -> None:
        """Forget what was set."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
