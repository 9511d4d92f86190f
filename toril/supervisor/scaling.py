"""How many children a queue should have between its least and its most, by what waits for them.

Up quickly: jobs wait and every child was busy. Down slowly: for a while some child was not. The
pool executes; a busy child is never ended for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toril import events as ev
from toril import lifecycle
from toril.errors import TorilError

if TYPE_CHECKING:
    from collections.abc import Callable

    from toril.runtime.store import Store
    from toril.supervisor.attempts import Attempts
    from toril.supervisor.settings import QueueSettings

LOOK_S = 0.5
"""Between two looks; chosen: a fork takes milliseconds, and this is a question to Redis at most."""

CALM_S = 5.0
"""How long a child too many must have been so before one ends; chosen: ten looks."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is known at a look.

    Attributes:
        size: children there should be by now.
        peak: most jobs at a time since the look before.
        backlog: jobs that could run and have no child.
        calm_s: how long the peak has been below the size.
    """

    size: int
    peak: int
    backlog: int
    calm_s: float


def wanted(load: Load, least: int, most: int) -> int:
    """How many children there should be: twice as many at most at a look, one less at a time."""
    size = load.size
    if load.peak >= size and load.backlog > 0:
        size += min(size, load.backlog)
    elif load.calm_s >= CALM_S:
        size -= 1
    return max(least, min(size, most))


class Scaling:
    """Looks and resizes until cancelled; a queue whose least is its most is left alone.

    Args:
        queue: the settings now.
        store: asked what waits, and only while every child is busy.
        attempts: the children.
        on_error: told of a question that failed.
        emit: the log.
    """

    def __init__(
        self,
        queue: Callable[[], QueueSettings],
        store: Store,
        attempts: Attempts,
        on_error: Callable[[TorilError], None],
        emit: ev.Emit,
    ) -> None:
        self._queue = queue
        self._store = store
        self._attempts = attempts
        self._on_error = on_error
        self._emit = emit
        self._calm_since_s: float | None = None

    async def run(self) -> None:
        """One look after another."""
        while True:
            await asyncio.sleep(LOOK_S)
            queue = self._queue()
            if queue.least_concurrency < queue.concurrency:
                await self._look(queue)

    async def _look(self, queue: QueueSettings) -> None:
        size, peak = self._attempts.size, self._attempts.take_peak()
        backlog = 0
        if peak >= size and size < queue.concurrency:
            try:
                backlog = await self._store.backlog()
            except TorilError as error:
                self._on_error(error)
        load = Load(size, peak, backlog, self._calm_s(is_calm=peak < size))
        after = wanted(load, queue.least_concurrency, queue.concurrency)
        if after != size:
            self._calm_since_s = None
            self._attempts.resize(after)
            self._emit(lifecycle.Scaled(queue.name, size, after, backlog))

    def _calm_s(self, *, is_calm: bool) -> float:
        now_s = asyncio.get_running_loop().time()
        if not is_calm:
            self._calm_since_s = None
            return 0.0
        self._calm_since_s = self._calm_since_s or now_s
        return now_s - self._calm_since_s
