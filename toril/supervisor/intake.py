"""When to ask Redis for jobs: after a wake-up, when a delayed job is due, when a child is free.

A claim that leaves with a round trip takes jobs a little ahead of the children, too; but the marker
in Redis wakes one worker per entry, so nobody may take one who cannot use it at once: this waits on
the marker only while a child is free, and puts back what it took too late. A change must
keep: whatever Redis answers, the waiting goes on; without it there is no polling either.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from toril.errors import TorilError

if TYPE_CHECKING:
    from collections.abc import Callable

    from toril.runtime.claim import Claimed
    from toril.runtime.store import Store

MIN_PAUSE_MS = 2
"""Shortest pause before a delayed job is looked for; chosen: no clock is early by more."""

FIRST_PAUSE_S = 0.05
"""After a wait or a claim that failed, doubled up to the poll; chosen: a full server must not be
hammered, and a connection that broke once is nothing to wait for."""


class Intake:
    """Decides when the worker's next round trip should claim.

    Args:
        store: whose marker is waited on.
        poll_ms: longest wait; the price of a lost wake-up.
        is_able: is a child free, and the worker claiming?
        has_room: could it take a claim now, if only a little ahead?
        wake: turns the worker's loop.
        on_error: told of every wait that failed.

    Attributes:
        answered_s: when a claim was last answered, on the loop's clock.
        open_since_s: since when a job could be taken and none was there; None while none could.
    """

    def __init__(  # noqa: PLR0913 - what it asks and tells, a callback each
        self,
        store: Store,
        poll_ms: int,
        *,
        is_able: Callable[[], bool],
        has_room: Callable[[], bool],
        wake: Callable[[], None],
        on_error: Callable[[TorilError], None],
    ) -> None:
        self._store = store
        self._poll_s = poll_ms / 1000
        self._is_able = is_able
        self._has_room = has_room
        self._wake = wake
        self._on_error = on_error
        self._look = True
        self._is_pausing = False
        self._is_limited = False
        self._failures = 0
        self._failed_claims = 0
        self._under_way = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due: asyncio.TimerHandle | None = None
        self._hungry = asyncio.Event()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._answered = asyncio.Event()
        self._answered.set()
        self.answered_s = 0.0
        self.open_since_s: float | None = None

    @property
    def is_open(self) -> bool:
        """May a claim be sent, if a round trip is made anyway?"""
        return not self._is_pausing and self._has_room()

    @property
    def is_due(self) -> bool:
        """Is a round trip worth it for the claim alone?"""
        return self._look and self.is_open

    @property
    def _is_hungry(self) -> bool:
        """Could a job run at once?"""
        return not self._is_pausing and self._is_able()

    @property
    def has_looked(self) -> bool:
        """Did the last claim find nothing more?"""
        return not self._look

    def look(self) -> None:
        """Something changed: claim as soon as the worker is able to."""
        self._look = True
        self._wake()

    def asked(self) -> None:
        """A claim is on its way; `answered` or `failed` must follow, perhaps after the next one."""
        self._look = False
        self._under_way += 1
        self._answered.clear()

    def answered(self, claimed: Claimed) -> None:
        """Plan the next claim by what the last one told; its jobs have been started."""
        self._failed_claims = 0
        self._heard()
        if not self._under_way:  # Else a later one will tell.
            self._look = self._look or claimed.more
        self.answered_s = asyncio.get_running_loop().time()
        self._plan_delayed(claimed.next_delayed_in_ms)
        self._is_limited = bool(claimed.limit_ttl_ms)
        if self._is_limited:
            self._pause(min(claimed.limit_ttl_ms / 1000, self._poll_s))

    def _heard(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._answered.set()

    def _plan_delayed(self, due_in_ms: int | None) -> None:
        """Look again when the next delayed job is due.

        By a timer of our own: Redis looks at the time of a blocked client ten times a second only,
        by which every delayed job and every retry would start up to 100 ms late.
        """
        if self._due is not None:
            self._due.cancel()
            self._due = None
        due_s = math.inf if due_in_ms is None else max(due_in_ms, MIN_PAUSE_MS) / 1000
        if due_s < 2 * self._poll_s:  # Else the wait is over long before, and a claim made.
            self._due = asyncio.get_running_loop().call_later(due_s, self.look)

    def failed(self) -> None:
        """The claim ended in an error: leave it for a while."""
        self._heard()
        self._look = True
        self._is_limited = False
        self._pause(self._pause_s(self._failed_claims))
        self._failed_claims += 1

    def rest(self) -> None:
        """The worker has nothing to do: wait on the marker if it could use a job."""
        if self._is_hungry:
            self._hungry.set()
        else:
            self._hungry.clear()
        # A pause after an error counts as hunger: else a worker that is refused looks well.
        if self._is_limited or not self._is_able():
            self.open_since_s = None
        elif self.open_since_s is None:
            self.open_since_s = asyncio.get_running_loop().time()

    async def leave_if_full(self) -> None:
        """Stop waiting on the marker once the last free child is taken."""
        if self._is_hungry or self._quiet.is_set():
            return
        self._hungry.clear()
        try:
            await self._store.unblock()
        except TorilError as error:
            self._on_error(error)  # The wait ends by itself when its time is up.

    async def watch(self) -> None:
        """Wait on the marker whenever the worker rests; runs until cancelled."""
        while True:
            await self._hungry.wait()
            self._quiet.clear()
            try:
                await self._wait_once()
                self._failures = 0
            except TorilError as error:
                self._on_error(error)
                await asyncio.sleep(self._pause_s(self._failures))
                self._failures += 1
            finally:
                self._quiet.set()
            self._hungry.clear()
            self.look()

    async def close(self, timeout_s: float = 1.0) -> None:
        """End the wait under way, giving back what it takes; the worker is not able any more."""
        for timer in (self._timer, self._due):
            if timer is not None:
                timer.cancel()
        await self.leave_if_full()
        try:
            async with asyncio.timeout(timeout_s):
                await self._quiet.wait()
        except TimeoutError:
            return

    async def _wait_once(self) -> None:
        marker = await self._store.wait_marker(self._poll_s)
        if marker is None:
            return
        # A claim under way may take the last free child, and may have set this very marker.
        await self._answered.wait()
        if not self._is_hungry:
            await self._store.put_back(marker)

    def _pause_s(self, failures: int) -> float:
        """After so many in a row."""
        return min(FIRST_PAUSE_S * 2.0 ** min(failures, 16), self._poll_s)

    def _pause(self, seconds: float) -> None:
        self._is_pausing = True
        self._timer = asyncio.get_running_loop().call_later(seconds, self._pause_over)

    def _pause_over(self) -> None:
        self._is_pausing = self._is_limited = False
        self.look()
