"""A supervisor's heartbeat: its record in Redis, rewritten every few seconds, gone with it.

On a connection of its own, away from claims and renewals. A change must keep: whatever becomes of a
beat, the workers never notice.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from toril.errors import RedisRefused, TorilError
from toril.lifecycle import HeartbeatRefused, RedisSlow
from toril.runtime.fleet import beat_all, leave

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from toril.events import Emit
    from toril.runtime.drivers import AsyncDriver

EVERY_S = 5.0
"""Between two beats; chosen: fresh enough for people, 200 writes a second by 1000 supervisors."""

LIVES_MS = 30_000
"""How long a record outlives its last beat; chosen: six beats, as long as a lock by default."""

PATIENCE_S = 2.0
"""Longest wait for Redis' answer to a beat; chosen: the next one comes soon."""

LEAVE_S = 1.0
"""Longest wait for it at a stop; chosen: records die by themselves."""

SLOW_S = 0.05
"""A round trip that every job feels; chosen: a hundred times what it takes on one host."""

SLOW_TIMES = 5
"""In a row before it is told; chosen: one is an accident."""


class Heartbeat:
    """Beats until it is closed.

    Args:
        driver: to Redis; whoever made it closes it.
        nonce: the supervisor's.
        records: `P:Q:` → what to say now.
        emit: the log.

    Attributes:
        round_trip_s: of the last beat; None before the first, and while Redis does not answer.
    """

    def __init__(
        self,
        driver: AsyncDriver,
        nonce: str,
        records: Callable[[], Mapping[str, bytes]],
        emit: Emit,
    ) -> None:
        self._driver = driver
        self._nonce = nonce
        self._records = records
        self._emit = emit
        self._now = asyncio.Event()
        self._slow = 0
        self._is_refused = self._is_over = False
        self._bases: tuple[str, ...] = ()
        self.round_trip_s: float | None = None

    async def run(self) -> None:
        """Beat."""
        # Not `True`: before Python 3.12 redis-py's wait_for may swallow the cancellation.
        while not self._is_over:
            self._now.clear()
            await self._beat()
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._now.wait()

    def hurry(self) -> None:
        """Something changed that others should know: beat at once."""
        self._now.set()

    def end(self) -> None:
        """Beat no more; whoever runs it cancels it, too."""
        self._is_over = True
        self._now.set()

    async def leave(self) -> None:
        """Remove the records; `run` has ended."""
        with suppress(TorilError, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self._driver.run(leave(self._bases, self._nonce))

    async def _beat(self) -> None:
        records = self._records()
        self._bases = tuple(records)
        sent_s = time.monotonic()  # The loop's clock stands still while it runs a callback.
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._driver.run(beat_all(records, self._nonce, LIVES_MS))
        except RedisRefused as error:
            self._tell_refused(error)
        except (TorilError, TimeoutError):
            self.round_trip_s = None  # The workers tell of a Redis that is away.
        else:
            self._is_refused = False
            self._note(time.monotonic() - sent_s)

    def _tell_refused(self, error: TorilError) -> None:
        if not self._is_refused:
            self._is_refused = True
            self._emit(HeartbeatRefused(str(error)))

    def _note(self, round_trip_s: float) -> None:
        self.round_trip_s = round_trip_s
        self._slow = self._slow + 1 if round_trip_s > SLOW_S else 0
        if self._slow == SLOW_TIMES:
            self._emit(RedisSlow(round(round_trip_s * 1000), self._slow, round(SLOW_S * 1000)))
