"""What a worker does beside its loop, by the clock: adopt lost claims, recover stalled jobs.

Nothing here ends because Redis is away: an error is told once, and the next round comes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from toril import events as ev
from toril.errors import TorilError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from toril.runtime.claim import Claim
    from toril.runtime.lock import LockKeeper
    from toril.runtime.store import Store
    from toril.supervisor.settings import QueueSettings

ROUNDS_PER_LOCK = 4
"""Rounds in the time a lock holds; chosen: an adopted job's lock must not have run out."""


class Upkeep:
    """Sweeps and adopts until cancelled.

    Args:
        queue: the settings now.
        store: where.
        keeper: whose claims are ours, whatever a sweep thinks.
        adopt: takes jobs that a lost reply gave us.
        emit: the log.
    """

    def __init__(
        self,
        queue: Callable[[], QueueSettings],
        store: Store,
        keeper: LockKeeper,
        adopt: Callable[[Sequence[Claim]], None],
        emit: ev.Emit,
    ) -> None:
        self._queue = queue
        self._store = store
        self._keeper = keeper
        self._adopt = adopt
        self._emit = emit
        self._told = ""

    async def run(self) -> None:
        """One round after another."""
        loop = asyncio.get_running_loop()
        next_sweep = loop.time()
        while True:
            queue = self._queue()
            sweep_s = queue.stalled_interval_ms / 1000
            round_s = min(sweep_s, queue.lock_ms / 1000 / ROUNDS_PER_LOCK)
            try:
                if self._store.has_unconfirmed:
                    self._adopt(await self._store.adopt())
                if loop.time() >= next_sweep:
                    next_sweep = loop.time() + sweep_s
                    await self._sweep(queue)
                if loop.time() - self._store.answered_s > round_s:
                    await self._store.ping()
            except TorilError as error:
                self._tell(error)
            await asyncio.sleep(round_s)

    async def _sweep(self, queue: QueueSettings) -> None:
        held = [claim.id for claim in self._keeper.held]
        recovered = await self._store.sweep(queue.max_stalled, queue.stalled_interval_ms, held)
        self._told = ""
        if recovered:
            self._emit(ev.StalledRecovered(queue.name, tuple(recovered)))

    def _tell(self, error: TorilError) -> None:
        reason = str(error)
        if reason != self._told:
            self._told = reason
            self._emit(ev.UpkeepFailed(self._queue().name, reason))
