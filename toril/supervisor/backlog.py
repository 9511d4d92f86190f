"""Events that wait for listeners, bounded in number and bytes; what does not fit is counted."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_EVENTS = 1000
"""Events that wait at most; chosen: what a busy queue has in about a second."""

MAX_BYTES = 8 * 1024 * 1024
"""Their text at most; chosen: what nobody takes must not fill memory."""

BATCH = 64
"""Events in one call at most; chosen: a call costs the loop as much as ten events."""

BATCH_BYTES = 256 * 1024
"""Text in one call after which it takes no more events; chosen: far below what a call may hold."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One event.

    Attributes:
        name: `completed` …
        job_id: empty without one.
        text: its JSON text.
    """

    name: str
    job_id: str
    text: str


class Backlog:
    """First in, first out.

    Attributes:
        dropped: events that were turned away, or given up.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._events: deque[Waiting] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._events)

    @property
    def is_full(self) -> bool:
        """Is nothing more taken?"""
        return len(self._events) >= MAX_EVENTS or self._bytes >= MAX_BYTES

    def put(self, event: Waiting) -> None:
        """Append an event; there must be room."""
        self._events.append(event)
        self._bytes += len(event.text)

    def take(self) -> list[Waiting]:
        """The next batch."""
        taken: list[Waiting] = []
        size = 0
        while self._events and len(taken) < BATCH and size < BATCH_BYTES:
            event = self._events.popleft()
            taken.append(event)
            size += len(event.text)
        self._bytes -= size
        return taken

    def put_back(self, events: Sequence[Waiting]) -> None:
        """These were taken and not handed over: they come first."""
        self._events.extendleft(reversed(events))
        self._bytes += sum(len(event.text) for event in events)

    def give_up(self) -> None:
        """Drop everything."""
        self.dropped += len(self._events)
        self._events.clear()
        self._bytes = 0
