"""What running jobs ask of Redis: asked by a child, checked and answered by this process.

The child holds no connection. A job it adds goes to its own queue, or to one that its queue's
`allow.queues` names, and stays added whatever becomes of the attempt; what it reads is its own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from toril.correlation import of_job
from toril.errors import InvalidInput, TorilError
from toril.events import JobAdded
from toril.runtime.children import AskedOfChildren

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from toril.events import Emit
    from toril.runtime.claim import Claim
    from toril.runtime.store import Store
    from toril.sandbox.reply import Reply
    from toril.supervisor.settings import QueueSettings

_CHILDREN = {asked.value: asked for asked in AskedOfChildren}
_METHODS = ("add", *_CHILDREN)


class _Request(msgspec.Struct):
    name: str
    data: msgspec.Raw
    options: dict[str, Any]
    queue: str | None = None


_decoder = msgspec.json.Decoder(_Request)


class FollowUps:
    """Answers running jobs, one task for each question: they are few, and each waits for Redis.

    Args:
        queue: the jobs' own, and which others they may add to.
        store: of their own queue.
        emit: told what they add.

    Attributes:
        queues: that they may add to, their own included; others may be put in their place.
    """

    def __init__(self, queue: QueueSettings, store: Store, emit: Emit) -> None:
        self._queue = queue.name
        self._store = store
        self.queues = {queue.name, *queue.allow.queues}
        self._emit = emit
        self._answering: set[asyncio.Task[None]] = set()

    def ask(self, claim: Claim, method: str, payload: bytes, reply: Reply) -> None:
        """Answer one call of a running job, now or when Redis has answered."""
        if method in _CHILDREN:
            self._begin(self._tell(claim, _CHILDREN[method], reply))
            return
        if method != "add":
            expected = ", ".join(map(repr, _METHODS))
            reply.refuse(
                InvalidInput(f"a running job cannot ask for {method!r}; expected {expected}")
            )
            return
        try:
            request = _decoder.decode(payload)
        except (ValueError, RecursionError) as error:
            reply.refuse(InvalidInput(f"the job to add is malformed: {error}"))
            return
        self._begin(self._add(claim, request, reply))

    def _begin(self, answer: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(answer)
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _add(self, claim: Claim, request: _Request, reply: Reply) -> None:
        data, queue = bytes(request.data), request.queue
        own = of_job(self._queue, claim.id, claim.opts.correlation_id)
        options = {"correlation_id": own} | request.options
        try:
            self._check(queue)
            job_id = await self._store.add(request.name, data, options, queue)
        except TorilError as error:
            reply.refuse(error)
        else:
            reply.give(job_id)
            to = queue or self._queue
            correlation_id = of_job(to, job_id, options["correlation_id"] or "")
            self._emit(JobAdded(to, job_id, request.name, claim.id, correlation_id))

    def _check(self, queue: str | None) -> None:
        if queue is not None and queue not in self.queues:
            raise InvalidInput(
                f"queue {queue!r} is not one that this job may add to; expected one of "
                f"{', '.join(sorted(self.queues))}. --allow-queue {queue} allows it"
            )

    async def _tell(self, claim: Claim, what: AskedOfChildren, reply: Reply) -> None:
        try:
            told = await self._store.children(claim, what)
        except TorilError as error:
            reply.refuse(error)
        else:
            reply.give_json(told)
