"""Jobs that a running job adds: asked by its child, checked and added by this process.

The child names no queue and holds no connection; a job it adds goes to its own queue, and stays
added whatever becomes of the attempt.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from toril.errors import InvalidInput, TorilError

if TYPE_CHECKING:
    from toril.runtime.store import Store
    from toril.sandbox.reply import Reply


class _Request(msgspec.Struct):
    name: str
    data: msgspec.Raw
    options: dict[str, Any]


_decoder = msgspec.json.Decoder(_Request)


class FollowUps:
    """Adds jobs for running ones, one task each: they are few, and each waits for Redis."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._adding: set[asyncio.Task[None]] = set()

    def ask(self, method: str, payload: bytes, reply: Reply) -> None:
        """Answer one call of a running job, now or when Redis has answered."""
        if method != "add":
            reply.refuse(InvalidInput(f"a running job cannot ask for {method!r}; expected 'add'"))
            return
        try:
            request = _decoder.decode(payload)
        except (ValueError, RecursionError) as error:
            reply.refuse(InvalidInput(f"the job to add is malformed: {error}"))
            return
        task = asyncio.get_running_loop().create_task(self._add(request, reply))
        self._adding.add(task)
        task.add_done_callback(self._adding.discard)

    async def _add(self, request: _Request, reply: Reply) -> None:
        try:
            job_id = await self._store.add(request.name, bytes(request.data), request.options)
        except TorilError as error:
            reply.refuse(error)
        else:
            reply.give(job_id)
