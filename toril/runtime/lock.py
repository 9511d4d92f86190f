"""Keeps the locks of every held job fresh, whatever the children do.

A claim is held from the tick it was claimed until its settlement is sent. A change must keep:
every lock is renewed before half of its time has passed, and no error ends the renewing.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from toril.errors import RedisUnavailable, TorilError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from toril.runtime.claim import Claim
    from toril.runtime.store import Store

RENEWALS_PER_LOCK = 4
"""Renewals in the time a lock holds; given by BullMQ's worker, which ticks as often."""

_AGAIN_S = 0.25
"""Pause after a renewal that failed, seconds, if the interval is not shorter; chosen."""


class LockKeeper:
    """The held claims, and the task that renews their locks.

    Args:
        store: the queue.
        lock_ms: how long a lock holds.
        on_lost: called on the loop, once for each held claim that turns out to be lost; the claim
            is not held any more then. It must not raise.
        on_cancelled: called likewise, once for each held claim whose job somebody cancelled; the
            claim stays held.
        on_error: called when a renewal failed; the next one follows soon.
        interval_s: between renewals, seconds; a quarter of the lock's time when None.
            `math.inf` never renews by itself (tests of what happens then).
    """

    def __init__(  # noqa: PLR0913 - what may happen to a claim, a callback each
        self,
        store: Store,
        lock_ms: int,
        on_lost: Callable[[Claim], None],
        *,
        on_cancelled: Callable[[Claim], None] = lambda _claim: None,
        on_error: Callable[[TorilError], None] = lambda _error: None,
        interval_s: float | None = None,
    ) -> None:
        self._store = store
        self._lock_ms = lock_ms
        self._on_lost = on_lost
        self._on_cancelled = on_cancelled
        self._on_error = on_error
        quarter_s = lock_ms / 1000 / RENEWALS_PER_LOCK
        self._interval_s = quarter_s if interval_s is None else interval_s
        self._held: dict[str, Claim] = {}
        self._cancelled: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._renewed_s = 0.0
        self._margin_s = lock_ms / 1000

    @property
    def margin_s(self) -> float:
        """Least time that a held lock has left, at the last renewal or now; negative: ran out.

        All of it while nothing is held. Counted from when a renewal was sent.
        """
        if not self._held or not self._renewed_s:
            return self._lock_ms / 1000
        return min(self._margin_s, self._left_s(asyncio.get_running_loop().time()))

    @property
    def held(self) -> tuple[Claim, ...]:
        """The claims whose locks are renewed."""
        return tuple(self._held.values())

    def holds(self, claim: Claim) -> bool:
        """Is this one's lock renewed?"""
        return claim.token in self._held

    def hold(self, claims: Iterable[Claim]) -> None:
        """Renew these from now on."""
        if not self._held:
            self._renewed_s = asyncio.get_running_loop().time()
            self._margin_s = self._lock_ms / 1000
        self._held.update((claim.token, claim) for claim in claims)

    def release(self, claim: Claim) -> None:
        """Renew this one no more; a claim that is not held is no mistake."""
        self._let_go(claim)

    async def renew_now(self) -> None:
        """Renew or retake all; after a reconnect, before anything is claimed or settled.

        Raises:
            RedisUnavailable: not now; everything stays held.
            RedisRefused: the script ended in an error that would come again.
        """
        sent_s = asyncio.get_running_loop().time()
        await self._renew(self.held)
        answered_s = asyncio.get_running_loop().time()
        # While nothing was held there was nothing to be late for.
        self._margin_s = self._left_s(answered_s) if self._held else self._lock_ms / 1000
        self._renewed_s = sent_s

    async def look(self, job_id: str) -> None:
        """Renew this job's lock, if it is held, to learn whether it was lost or cancelled.

        Raises:
            RedisUnavailable: not now; the next renewal tells.
            RedisRefused: the script ended in an error that would come again.
        """
        await self._renew([claim for claim in self.held if claim.id == job_id])

    def start(self) -> None:
        """Renew by the clock from now on."""
        if self._task is None and self._interval_s != float("inf"):
            self._task = asyncio.get_running_loop().create_task(self._run(), name="lock keeper")

    async def stop(self) -> None:
        """Renew no more; what is held stays so until its locks run out."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _renew(self, claims: Sequence[Claim]) -> None:
        renewed = await self._store.renew(claims, self._lock_ms)
        # What was settled meanwhile is not held any more: its lock is gone because it is done.
        for claim in renewed.lost:
            if self._let_go(claim):
                self._on_lost(claim)
        for claim in renewed.cancelled:
            if claim.token in self._held and claim.token not in self._cancelled:
                self._cancelled.add(claim.token)
                self._on_cancelled(claim)

    def _left_s(self, now_s: float) -> float:
        return self._lock_ms / 1000 - (now_s - self._renewed_s)

    def _let_go(self, claim: Claim) -> bool:
        self._cancelled.discard(claim.token)
        return self._held.pop(claim.token, None) is not None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        next_s = loop.time() + self._interval_s
        # Not `True`: before Python 3.12 redis-py's wait_for may swallow the cancellation.
        while self._task is not None:
            await asyncio.sleep(next_s - loop.time())
            next_s = loop.time() + self._interval_s
            try:
                await self._renew_in_time()
            except TorilError as error:
                self._on_error(error)
                next_s = loop.time() + min(_AGAIN_S, self._interval_s)

    async def _renew_in_time(self) -> None:
        """Renew all, or give up in time for another try on another connection."""
        try:
            async with asyncio.timeout(self._interval_s):
                await self.renew_now()
        except TimeoutError:
            raise RedisUnavailable(
                f"no answer to a renewal of locks within {self._interval_s:g} s"
            ) from None
