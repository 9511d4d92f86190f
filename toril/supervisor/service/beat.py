"""A supervisor's beat: once a second its title, its status line and, if it is live, the watchdog.

The beat is a task on the loop it vouches for: a thread would say only that a thread runs.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import setproctitle

from toril.supervisor.service.notify import PINGS_PER_WATCHDOG

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from toril.supervisor.health import Health
    from toril.supervisor.service.notify import Notifier

BEAT_S = 1.0
"""Between two beats; chosen: people read the title and the status line, tools poll them."""

EXTENSION_S = 10.0
"""Asked for at every beat while stopping; chosen: ten beats, so that a lost one does no harm."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """How one queue does, for a line that people read."""

    name: str
    running: int
    concurrency: int
    is_quiet: bool = False

    @property
    def words(self) -> str:
        """How many children are busy, and whether it is quiet."""
        return f"{self.running}/{self.concurrency} busy" + (", quiet" if self.is_quiet else "")


class Beat:
    """Tells title, status and life, until cancelled.

    Args:
        notifier: the service manager.
        states: how the queues do now.
        health: what to complain of, by queue.
        stop_left_s: seconds that the stop under way may still take; None while none is.

    Attributes:
        turned_s: when the loop last turned here, on its own clock.
    """

    def __init__(
        self,
        notifier: Notifier,
        *,
        states: Callable[[], list[QueueState]],
        health: Callable[[], Mapping[str, Health]],
        stop_left_s: Callable[[], float | None],
    ) -> None:
        self._notifier = notifier
        self._states = states
        self._health = health
        self._stop_left_s = stop_left_s
        self._title = ""
        self.turned_s = 0.0

    async def run(self) -> None:
        """Beat."""
        watchdog_s = self._notifier.watchdog_s
        pause_s = min(BEAT_S, watchdog_s / PINGS_PER_WATCHDOG) if watchdog_s else BEAT_S
        while True:
            self.turned_s = asyncio.get_running_loop().time()
            self._tell(self._health())
            await asyncio.sleep(pause_s)

    def _tell(self, health: Mapping[str, Health]) -> None:
        states, left_s = self._states(), self._stop_left_s()
        title = title_of(states)
        if title != self._title:
            setproctitle.setproctitle(title)
            self._title = title
        if not self._notifier.is_heard:
            return
        self._notifier.status(status_of(states, health, is_stopping=left_s is not None))
        if all(one.is_live for one in health.values()):
            self._notifier.alive()
        if left_s is not None and left_s > 0:
            self._notifier.extend(min(left_s, EXTENSION_S))


def title_of(states: list[QueueState]) -> str:
    """The process title."""
    return "toril: " + " ".join(f"{s.name} [{s.words}]" for s in states)


def status_of(states: list[QueueState], health: Mapping[str, Health], *, is_stopping: bool) -> str:
    """The status line: what it does and, first, what is wrong."""
    wrong = [
        f"{name}: {complaint.text}" for name, one in health.items() for complaint in one.complaints
    ]
    busy = ", ".join(f"{s.name} {s.words}" for s in states)
    return "; ".join([*wrong, ("stopping, " if is_stopping else "") + busy])
