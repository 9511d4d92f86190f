"""Questions from anywhere about jobs that run here: is it cancelled, where does it stand?

A question is a hint only. Whether a job is cancelled is read from the job itself, by renewing its
lock; a supervisor that hears nothing learns of it at the next renewal.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from toril import events as ev
from toril.errors import TorilError
from toril.runtime.asking import Asked

if TYPE_CHECKING:
    from toril.runtime.asking import Ask
    from toril.runtime.lock import LockKeeper
    from toril.runtime.store import Store
    from toril.supervisor.attempts import Attempts

AGAIN_S = 5.0
"""Pause after Redis does not let us listen; chosen: renewals tell of cancellations meanwhile."""


class Asks:
    """Answers until cancelled."""

    def __init__(
        self, queue: str, store: Store, keeper: LockKeeper, attempts: Attempts, emit: ev.Emit
    ) -> None:
        self._queue = queue
        self._store = store
        self._keeper = keeper
        self._attempts = attempts
        self._emit = emit
        self._answering: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """One question after another."""
        is_told = False
        while True:
            try:
                async for ask in self._store.asks():
                    await self._answer(ask)
            except TorilError as error:
                if not is_told:
                    is_told = True
                    self._emit(ev.RedisFailed(self._queue, "listening for questions", str(error)))
            await asyncio.sleep(AGAIN_S)

    async def _answer(self, ask: Ask) -> None:
        if ask.what is Asked.CANCEL:
            with suppress(TorilError):  # The next renewal tells of it, too.
                await self._keeper.look(ask.job_id)
        else:
            self._attempts.ask_stack(ask.job_id, lambda text: self._send(ask, text))

    def _send(self, ask: Ask, text: str) -> None:
        task = asyncio.get_running_loop().create_task(self._send_soon(ask, text))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _send_soon(self, ask: Ask, text: str) -> None:
        try:
            await self._store.answer_stack(ask, text)
        except TorilError:
            return  # Whoever asked asks again.
