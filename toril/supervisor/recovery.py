"""Reaching Redis again: every held lock first, then what a lost reply gave us, then all else."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING

from toril.errors import TorilError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from toril.runtime.claim import Claim
    from toril.runtime.lock import LockKeeper
    from toril.runtime.store import Store

FIRST_PAUSE_S = 0.05
MAX_PAUSE_S = 5.0
"""Longest pause between two tries; chosen: half of it is the mean delay after a long outage."""


LATE_SHARE = 0.5
"""Of a lock's time, after which a claim's answer is late; chosen: by then it is renewed, else."""


def is_late(took_s: float, lock_ms: int) -> bool:
    """Locks hold from the claim on, not from its answer: what came late may be lost by now."""
    return took_s > LATE_SHARE * lock_ms / 1000


async def renew_if_late(keeper: LockKeeper, took_s: float, lock_ms: int) -> None:
    """Make sure of what came late."""
    if is_late(took_s, lock_ms):
        with suppress(TorilError):  # As for what runs when Redis goes away: it may go on.
            await keeper.renew_now()


async def reach_again(
    store: Store, keeper: LockKeeper, *, is_worth_it: Callable[[], bool], nudge: asyncio.Event
) -> Sequence[Claim] | None:
    """Try until Redis answers: jobs that a lost reply gave us, or None when it was given up.

    Whatever Redis says meanwhile (a refused login too) may pass: it worked before.

    Args:
        store: where.
        keeper: every claim it holds is renewed, retaken or found lost before this returns.
        is_worth_it: asked before every try.
        nudge: set by whoever wants the next try, or the question, at once.
    """
    pause_s = FIRST_PAUSE_S
    while is_worth_it():
        nudge.clear()
        try:
            async with asyncio.timeout(pause_s * random.random()):  # noqa: S311 - spreads a fleet
                await nudge.wait()
        except TimeoutError:
            pause_s = min(pause_s * 2, MAX_PAUSE_S)
        try:
            await store.ping()
            await keeper.renew_now()
            return await store.adopt()
        except TorilError:
            continue
    return None
