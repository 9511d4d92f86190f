"""By how much the event loop is late: what a blocking call, or a busy machine, costs every job."""

from __future__ import annotations

import asyncio
from collections import deque

EVERY_S = 0.25
"""Between two looks; chosen: a block that is much shorter harms nothing."""

KEPT_S = 30.0
"""How long the worst is remembered; chosen: a scraper comes every 15 s."""


class Lag:
    """Looks again and again, until cancelled."""

    def __init__(self) -> None:
        self._seen: deque[float] = deque(maxlen=round(KEPT_S / EVERY_S))
        self._due_s: float | None = None

    @property
    def worst_s(self) -> float:
        """The worst of the last half minute, the one under way included."""
        late_s = 0.0
        if self._due_s is not None:
            late_s = max(0.0, asyncio.get_running_loop().time() - self._due_s)
        return max(late_s, *self._seen) if self._seen else late_s

    async def run(self) -> None:
        """Look."""
        loop = asyncio.get_running_loop()
        while True:
            self._due_s = loop.time() + EVERY_S
            await asyncio.sleep(EVERY_S)
            self._seen.append(max(0.0, loop.time() - self._due_s))
