"""When to ask Redis for jobs: after a wake-up, when a delayed job is due, when a child is free.

The marker in Redis wakes one worker per entry, so nobody may take one who cannot use it: this
waits on the marker only while a child is free, and puts back what it took too late.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from toril.errors import RedisUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from toril.runtime.claim import Claimed
    from toril.runtime.store import Store

MIN_BLOCK_MS = 2
"""Shortest wait on the marker; given: Redis before 7.0.8 rounds less down to `for ever`."""


class Intake:
    """Decides when the worker's next round trip should claim.

    Args:
        store: whose marker is waited on.
        poll_ms: longest wait; the price of a lost wake-up.
        is_able: could the worker take a job now?
        wake: turns the worker's loop.
    """

    def __init__(
        self, store: Store, poll_ms: int, is_able: Callable[[], bool], wake: Callable[[], None]
    ) -> None:
        self._store = store
        self._poll_ms = poll_ms
        self._is_able = is_able
        self._wake = wake
        self._block_s = poll_ms / 1000
        self._look = True
        self._is_pausing = False
        self._timer: asyncio.TimerHandle | None = None
        self._hungry = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """May a claim be sent, if a round trip is made anyway?"""
        return not self._is_pausing and self._is_able()

    @property
    def is_due(self) -> bool:
        """Is a round trip worth it for the claim alone?"""
        return self._look and self.is_open

    @property
    def has_looked(self) -> bool:
        """Did the last claim find nothing more?"""
        return not self._look

    def look(self) -> None:
        """Something changed: claim as soon as the worker is able to."""
        self._look = True
        self._wake()

    def asked(self) -> None:
        """A claim is on its way."""
        self._look = False

    def answered(self, claimed: Claimed) -> None:
        """Plan the next claim by what the last one told."""
        self._look = self._look or claimed.more
        self._block_s = self._poll_ms / 1000
        if claimed.next_delayed_in_ms is not None:
            due_s = max(claimed.next_delayed_in_ms, MIN_BLOCK_MS) / 1000
            self._block_s = min(self._block_s, due_s)
        if claimed.limit_ttl_ms:
            self._pause(min(claimed.limit_ttl_ms, self._poll_ms))

    def failed(self) -> None:
        """The claim ended in an error that would come again: leave it for a while."""
        self._pause(self._poll_ms)

    def rest(self) -> None:
        """The worker has nothing to do: wait on the marker if it could use a job."""
        if self.is_open:
            self._hungry.set()
        else:
            self._hungry.clear()

    async def leave_if_full(self) -> None:
        """Stop waiting on the marker once the last free child is taken."""
        if self._hungry.is_set() and not self.is_open:
            self._hungry.clear()
            await self._store.unblock()

    async def watch(self) -> None:
        """Wait on the marker whenever the worker rests; runs until cancelled."""
        while True:
            await self._hungry.wait()
            with contextlib.suppress(RedisUnavailable):
                marker = await self._store.wait_marker(self._block_s)
                if marker is not None and not self.is_open:
                    await self._store.put_back(marker)
            self._hungry.clear()
            self.look()

    def close(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _pause(self, ms: int) -> None:
        self._is_pausing = True
        self._timer = asyncio.get_running_loop().call_later(ms / 1000, self._pause_over)

    def _pause_over(self) -> None:
        self._is_pausing = False
        self.look()
