"""A worker's view of one queue in Redis: asynchronous, in few round trips, with our errors.

It sends what `claiming.py` and `settling.py` build. This is the wall behind which redis-py's
exceptions stop. A change must keep: what may have been executed is never sent again unless its
script makes that harmless, and no claim's token is forgotten before its job has been looked for.
"""

from __future__ import annotations

import asyncio
import socket
import uuid
from itertools import count, repeat
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from toril.errors import RedisUnavailable, TorilError
from toril.runtime.asking import answer_stack, ask_channel
from toril.runtime.children import AskedOfChildren, ask_children
from toril.runtime.claim import Claimed, Renewed
from toril.runtime.claiming import (
    adopt_jobs,
    claim_jobs,
    put_back_marker,
    renew_locks,
    slot_after,
    sweep_stalled,
)
from toril.runtime.connection import open_async_pool, server_name, translated
from toril.runtime.drivers import AsyncDriver
from toril.runtime.followup import prepare_follow_up
from toril.runtime.history import Worker
from toril.runtime.keys import client_name, key_base
from toril.runtime.limiter import offer_limit
from toril.runtime.listening import Listener
from toril.runtime.marker import MarkerWait
from toril.runtime.pipeline import ScriptPipeline
from toril.runtime.producing import Producer
from toril.runtime.retry import Abandon
from toril.runtime.settling import Ending, Said, Settled, settle_all, store_report
from toril.runtime.trip import Exchange, Trip

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from toril.runtime.asking import Ask
    from toril.runtime.claim import Claim, ClaimRequest, Marker, Report, Slot
    from toril.runtime.command import Command
    from toril.runtime.limiter import RateLimit

__all__ = ["Ending", "Exchange", "Store", "Trip"]

_ADOPT_FOR_S = 60.0
"""How long an unconfirmed claim is looked for; chosen: a request that a network held back, or a
frozen server, may be executed after its connection is gone."""

SLOT_AGE_S = 1.0
"""How old an answer to a claim's question may be; chosen: the next claim follows at once, and a
worker that was full meanwhile would bring a slot that is past."""

_RENEW_BATCH = 500
"""Locks per call of the renewing script; chosen: under 10 ms of the server's time."""


class Store:
    """One queue for one worker.

    Args:
        url: the server's, in redis-py's forms.
        prefix: of the keys, `bull` by default in BullMQ.
        queue: the queue's name.
        worker_name: stands on the jobs as `processedBy` and in the list of workers.

    Attributes:
        location: which server, for messages; never a password.
    """

    def __init__(self, url: str, prefix: str, queue: str, *, worker_name: str = "") -> None:
        self.location = server_name(url)
        self._base = key_base(prefix, queue)
        self._worker = Worker(worker_name, socket.gethostname())
        own_name = f"toril:{prefix}:{_printable(queue)}"
        self._pipeline = ScriptPipeline(open_async_pool(url, client_name=own_name), self.location)
        name = client_name(prefix, queue, _printable(worker_name))
        self._marker = MarkerWait(url, f"{self._base}marker", name)
        self._listener = Listener(url, ask_channel(self._base), own_name)
        self._prefix, self._queue, self._driver = prefix, queue, AsyncDriver(url)
        self._producers: dict[str, Producer] = {}
        self._token_numbers = count(1)
        self._uuid = str(uuid.uuid4())
        self._unconfirmed: dict[str, float] = {}
        self._said: dict[str, Said] = {}
        self._slot: Slot | None = None
        self._slot_at_s = 0.0

    async def open(self) -> None:
        """Connect, the blocking connection too, and load the scripts.

        Raises:
            RedisUnavailable: it cannot be reached.
            RedisRefused: it refuses the login, or scripts.
        """
        await self.ping()
        await self._pipeline.open()
        await self._marker.open()

    async def ping(self) -> None:
        """Check that the server answers; raises as `open` does."""
        await self._pipeline.plain("PING")

    async def close(self) -> None:
        """Drop all connections; what is under way fails."""
        await self._marker.close()
        await self._listener.close()
        await self._driver.close()
        await self._pipeline.close()

    async def exchange(
        self,
        reports: Sequence[Report] = (),
        endings: Sequence[Ending] = (),
        want: ClaimRequest | None = None,
    ) -> Exchange:
        """`send`, `answer` and `read` in one, for who has nothing to do meanwhile.

        Raises:
            RedisUnavailable: the connection failed and nothing is known.
        """
        trip = self.send(reports, endings, want)
        await self.answer(trip)
        return self.read(trip)

    def send(
        self, reports: Sequence[Report], endings: Sequence[Ending], want: ClaimRequest | None
    ) -> Trip:
        """Store what jobs said, then what became of them, then claim: begin one round trip.

        `answer` must follow. Repeating the same endings after an error is safe; so is claiming
        anew, with `adopt`. So are reports, if the log lines that were sent come again before newer
        ones.
        """
        stored = [store_report(self._base, one, self._said_by(one.claim)) for one in reports]
        batches = settle_all(self._base, endings, worker=self._worker)
        tokens = [self._new_token() for _ in range(want.count)] if want else []
        commands: list[Command[Any]] = [*stored, *(batch.command for batch in batches)]
        if want is not None:
            name = self._worker.name
            slot = self._fresh_slot()
            commands.append(claim_jobs(self._base, want, tokens, worker_name=name, slot=slot))
        sizes = [batch.size for batch in batches]
        return Trip(reports, endings, sizes, want, tokens, self._pipeline.post(commands))

    async def answer(self, trip: Trip) -> None:
        """Wait for its replies; `read` tells what they mean.

        Raises:
            RedisUnavailable: the connection failed and nothing is known.
        """
        try:
            trip.replies = await self._pipeline.answer(trip.posted)
        except BaseException:
            self._doubt(trip.tokens)
            raise

    def read(self, trip: Trip) -> Exchange:
        """What came back; the tokens are kept for `adopt` if it is not known what was claimed."""
        answers = iter(self._pipeline.parsed(trip.posted.commands, trip.replies))
        exchanged = Exchange(
            reports=[next(answers) for _ in trip.reports],
            endings=self._endings(trip.endings, [(size, next(answers)) for size in trip.sizes]),
            claimed=next(answers) if trip.want else None,
        )
        if isinstance(exchanged.claimed, RedisUnavailable):
            self._doubt(trip.tokens)
        self._note_said(trip.reports, trip.endings, exchanged)
        if isinstance(exchanged.claimed, Claimed):
            self._slot = slot_after(exchanged.claimed)
            self._slot_at_s = asyncio.get_running_loop().time()
        return exchanged

    @property
    def answered_s(self) -> float:
        """When Redis last answered, on the loop's clock."""
        return self._pipeline.answered_s

    @property
    def has_unconfirmed(self) -> bool:
        """True while jobs may have been claimed by calls whose reply was lost."""
        return bool(self._unconfirmed)

    async def adopt(self) -> list[Claim]:
        """Jobs claimed by calls whose reply was lost; call it now and then while there may be.

        Raises:
            RedisUnavailable: not now.
        """
        if not self._unconfirmed:
            return []
        claims = await self._pipeline.send_one(adopt_jobs(self._base, list(self._unconfirmed)))
        found = {claim.token for claim in claims}
        oldest = asyncio.get_running_loop().time() - _ADOPT_FOR_S
        self._unconfirmed = {
            token: lost_at
            for token, lost_at in self._unconfirmed.items()
            if token not in found and lost_at > oldest
        }
        return claims

    async def renew(self, held: Sequence[Claim], lock_ms: int) -> Renewed:
        """Renew these locks, retaking those that ran out; which are lost, which are cancelled.

        Raises:
            RedisUnavailable: not now; some may have been renewed.
            RedisRefused: the script ended in an error that would come again.
        """
        batches = [held[i : i + _RENEW_BATCH] for i in range(0, len(held), _RENEW_BATCH)]
        commands = [renew_locks(self._base, batch, lock_ms) for batch in batches]
        renewed = Renewed()
        for result in await self._pipeline.send(commands) if commands else ():
            if isinstance(result, TorilError):
                raise result
            renewed = Renewed(renewed.lost + result.lost, renewed.cancelled + result.cancelled)
        for claim in renewed.lost:
            self._said.pop(claim.token, None)
        return renewed

    async def sweep(
        self, max_stalled: int, interval_ms: int, held: Sequence[str] = ()
    ) -> list[str]:
        """Recover stalled jobs, once per interval over all workers; answers with their ids.

        Args:
            max_stalled: a job that stalls more often is failed by whoever claims it next.
            interval_ms: what another worker swept since is left.
            held: ids of jobs that are ours: the next renewal retakes them, however late it is.

        Raises:
            RedisUnavailable: not now.
        """
        command = sweep_stalled(self._base, max_stalled, interval_ms, held)
        return await self._pipeline.send_one(command)

    async def configure_limit(self, limit: RateLimit | None) -> RateLimit | None:
        """Offer a configuration's rate limit; answers with the one in force.

        Raises:
            RedisUnavailable: not now.
        """
        return await self._pipeline.send_one(offer_limit(self._base, limit))

    async def add(
        self, name: str, data: bytes, options: Mapping[str, Any], queue: str | None = None
    ) -> str:
        """Add a job that a running job asked for; its id.

        Args:
            name: as in `prepare_follow_up`.
            data: likewise.
            options: likewise.
            queue: where to; None: this queue.

        Raises:
            InvalidInput: nothing was written.
            RedisUnavailable: it is not known to be added.
            RedisRefused: it was not added.
        """
        prepared = prepare_follow_up(name, data, options)
        wanted = queue or self._queue
        producer = self._producers.get(wanted)
        if producer is None:
            producer = self._producers[wanted] = Producer(wanted, prefix=self._prefix)
        return (await self._driver.run(producer.add_prepared(prepared))).id

    async def children(self, claim: Claim, what: AskedOfChildren) -> bytes:
        """What a running job wants to know of its children, as JSON text.

        Raises:
            InvalidJobData: what a child returned is no JSON.
            RedisUnavailable: not now.
        """
        return await self._driver.run(ask_children(self._base, claim.id, what))

    def asks(self) -> AsyncGenerator[Ask, None]:
        """Questions about jobs that may be ours, until `close`; on a connection of their own.

        A question to cancel says only that it is time for `LockKeeper.look`.

        Raises:
            RedisRefused: Redis does not let us listen; renewals tell of cancellations all the same.
        """
        return self._listener.asks()

    async def answer_stack(self, ask: Ask, text: str) -> None:
        """Tell where a job stands to whoever asked.

        Raises:
            RedisUnavailable: not now; the question will come again.
        """
        await self._pipeline.send_one(answer_stack(self._base, ask.reply, text))

    async def is_empty(self) -> bool:
        """True when nothing is waiting, prioritized or delayed.

        Raises:
            RedisUnavailable: not now.
        """
        lists = (self._base + name for name in ("wait", "prioritized", "delayed"))
        return bool(await self._pipeline.plain("EXISTS", *lists) == 0)

    async def backlog(self) -> int:
        """Jobs that wait for a worker, with and without priority.

        Raises:
            RedisUnavailable: not now.
        """
        waiting = await self._pipeline.plain("LLEN", self._base + "wait")
        return int(waiting) + int(await self._pipeline.plain("ZCARD", self._base + "prioritized"))

    async def wait_marker(self, timeout_s: float) -> Marker | None:
        """Wait until there may be something to claim; None when the time is up or on `unblock`.

        Raises:
            RedisUnavailable: the connection failed, or was silent beyond its time.
        """
        return await self._marker.wait(timeout_s)

    async def unblock(self) -> None:
        """End the wait under way, if there is one.

        Raises:
            RedisUnavailable: not now.
        """
        await self._marker.unblock(self._pipeline)

    async def put_back(self, marker: Marker) -> None:
        """Wake another worker instead of this one.

        Raises:
            RedisUnavailable: not now.
        """
        await self._pipeline.send_one(put_back_marker(self._base, marker))

    def _endings(
        self, endings: Sequence[Ending], answers: list[tuple[int, Any]]
    ) -> list[Settled | TorilError]:
        """One result for each ending; an error that took a whole call's place is everybody's."""
        each = (
            result
            for size, answer in answers
            for result in (repeat(answer, size) if isinstance(answer, TorilError) else answer)
        )
        return [
            Settled.ABANDONED if isinstance(ending.settlement, Abandon) else self._own(next(each))
            for ending in endings
        ]

    def _own(self, result: Settled | TorilError | ResponseError) -> Settled | TorilError:
        return translated(result, self.location) if isinstance(result, ResponseError) else result

    def _fresh_slot(self) -> Slot | None:
        slot, self._slot = self._slot, None
        age_s = asyncio.get_running_loop().time() - self._slot_at_s
        return slot if age_s <= SLOT_AGE_S else None

    def _said_by(self, claim: Claim) -> Said:
        return self._said.get(claim.token, Said())

    def _note_said(
        self, reports: Sequence[Report], endings: Sequence[Ending], exchanged: Exchange
    ) -> None:
        for report, result in zip(reports, exchanged.reports, strict=True):
            if result is Settled.DONE:
                self._said[report.claim.token] = self._said_by(report.claim).with_report(report)
        for ending, result in zip(endings, exchanged.endings, strict=True):
            if not isinstance(result, RedisUnavailable):
                self._said.pop(ending.claim.token, None)

    def _doubt(self, tokens: list[str]) -> None:
        """Look for these from now on, not while their call is under way: it may yet answer."""
        now_s = asyncio.get_running_loop().time()
        self._unconfirmed.update(dict.fromkeys(tokens, now_s))

    def _new_token(self) -> str:
        return f"{self._uuid}:{next(self._token_numbers)}"


def _printable(name: str) -> str:
    """A name as CLIENT SETNAME takes it: no spaces, nothing but visible ASCII."""
    return "".join(char if "!" <= char <= "~" else "_" for char in name)
