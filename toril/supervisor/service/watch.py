"""What the outside sees of a supervisor: health endpoint, metrics, heartbeat, joined in one place.

`Supervisor.health()` is the one predicate; nothing here judges. A change must keep: liveness never
waits for Redis, and with everything off a job costs nothing here.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
import uuid
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from toril.errors import TorilError
from toril.lifecycle import HealthExposed, HealthListening
from toril.runtime.depth import Depth, depth
from toril.runtime.drivers import AsyncDriver
from toril.runtime.keys import key_base
from toril.supervisor.service.address import (
    inode_of,
    listening_socket,
    name_of,
    parse_address,
    remove_path,
)
from toril.supervisor.service.exposition import CONTENT_TYPE
from toril.supervisor.service.heartbeat import Heartbeat
from toril.supervisor.service.http import Connections, Reply
from toril.supervisor.service.lag import Lag
from toril.supervisor.service.metrics import Metrics, Scrape
from toril.supervisor.service.record import (
    STARTING,
    STOPPING,
    WORKING,
    Own,
    record_of,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from toril.events import Emit, Event
    from toril.supervisor.health import Health
    from toril.supervisor.settings import Settings
    from toril.supervisor.sight import Sight

CACHE_S = 1.0
"""How old the text of metrics may be; chosen: scrapers come every 15 s, a flood costs nothing."""

DEPTH_S = 1.0
"""Longest wait for Redis' part of the metrics; chosen: without it the rest is still worth much."""


class Watch:
    """Opened before the workers, closed after them.

    Args:
        settings: the supervisor's.
        sights: what every worker does now.
        health: queue → what is wrong.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sights: Callable[[], Sequence[Sight]],
        health: Callable[[], Mapping[str, Health]],
    ) -> None:
        listen = settings.health_listen
        self._address = None if listen is None else parse_address(listen)
        self._bases = {q.name: key_base(settings.prefix, q.name) for q in settings.queues}
        self._url = settings.redis
        self._client_name = f"toril:{settings.prefix}:watch"
        self._sights = sights
        self._health = health
        self._metrics = Metrics() if self._address is not None else None
        self._lag = Lag()
        self._nonce = uuid.uuid4().hex
        self._state = STARTING
        self._began_s = time.monotonic()
        self._emit: Emit = lambda _event: None
        self._driver: AsyncDriver | None = None
        self._heartbeat: Heartbeat | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self._connections = Connections(self._answer)
        self._inode = 0
        self._told: dict[str, int] = {}
        self._told_s = 0.0
        self._text = ""
        self._text_at_s = float("-inf")
        self._scrape: asyncio.Task[None] | None = None

    def overhear(self, emit: Emit) -> Emit:
        """A log that is counted too, or the log itself where nobody can ask for counts."""
        self._emit = emit
        if self._metrics is None:
            return emit
        hear = self._metrics.hear

        def both(event: Event) -> None:
            emit(event)
            hear(event)

        return both

    async def open(self) -> None:
        """Answer probes from now on.

        Raises:
            InvalidOption: the address cannot be listened on.
        """
        if self._address is None:
            return
        listening = listening_socket(self._address)
        loop = asyncio.get_running_loop()
        self._inode = inode_of(self._address)
        if self._address.path:
            self._server = await loop.create_unix_server(self._connections.make, sock=listening)
        else:
            self._server = await loop.create_server(self._connections.make, sock=listening)
        self._tasks.append(asyncio.create_task(self._lag.run()))
        name = name_of(listening, self._address)
        self._emit(HealthListening(name))
        if self._address.is_exposed:
            self._emit(HealthExposed(name))

    def started(self) -> None:
        """The workers work: ready, and to be seen by others."""
        self._state = WORKING
        self._learn_names(self._sights())
        heartbeat = Heartbeat(self._reach(), self._nonce, self._records, self._emit)
        self._heartbeat = heartbeat
        self._tasks.append(asyncio.create_task(heartbeat.run()))

    def stopping(self) -> None:
        """On the way out: not ready any more."""
        self._state = STOPPING
        self.changed()

    def changed(self) -> None:
        """Something is otherwise that others should see at once."""
        if self._heartbeat is not None:
            self._heartbeat.hurry()

    async def close(self) -> None:
        """Answer nobody any more, and be forgotten."""
        if self._server is not None and self._address is not None:
            self._server.close()
            self._connections.close()
            remove_path(self._address, self._inode)
        if self._heartbeat is not None:
            self._heartbeat.end()
        tasks = [*self._tasks, *filter(None, [self._scrape])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._heartbeat is not None:
            await self._heartbeat.leave()
        if self._driver is not None:
            await self._driver.close()

    # -- what is answered

    def _answer(self, path: str) -> Reply | Awaitable[Reply]:
        if path == "/livez":
            return self._live()
        if path == "/readyz":
            return self._ready()
        if path == "/metrics":
            return self._scraped()
        return Reply(HTTPStatus.NOT_FOUND, "there are /livez, /readyz and /metrics\n")

    def _live(self) -> Reply:
        if self._state is STARTING:
            return _probed([])
        return _probed(
            f"{queue}: {complaint.text}"
            for queue, one in self._health().items()
            for complaint in one.complaints
            if complaint.is_stuck
        )

    def _ready(self) -> Reply:
        if self._state is not WORKING:
            return _probed([self._state])
        return _probed(
            f"{queue}: {complaint.text}"
            for queue, one in self._health().items()
            for complaint in one.complaints
        )

    def _scraped(self) -> Reply | Awaitable[Reply]:
        loop = asyncio.get_running_loop()
        if loop.time() - self._text_at_s < CACHE_S:
            return self._text_reply()
        if self._scrape is None or self._scrape.done():
            self._scrape = loop.create_task(self._collect())
        return self._when_collected(self._scrape)

    async def _when_collected(self, scrape: asyncio.Task[None]) -> Reply:
        # One scraper's impatience must not end what others wait for.
        await asyncio.shield(scrape)
        return self._text_reply()

    def _text_reply(self) -> Reply:
        return Reply(HTTPStatus.OK, self._text, CONTENT_TYPE)

    async def _collect(self) -> None:
        depths = await self._depths()
        if self._metrics is None:
            return
        heartbeat = self._heartbeat
        is_starting = self._state is STARTING
        scrape = Scrape(
            sights=self._sights(),
            health={} if is_starting else self._health(),
            depths=depths,
            loop_lag_s=self._lag.worst_s,
            round_trip_s=heartbeat.round_trip_s if heartbeat is not None else None,
        )
        pieces = []
        for piece in self._metrics.text(scrape):
            pieces.append(piece)
            await asyncio.sleep(0)  # With many queues and names the whole takes tens of ms.
        self._text = "".join(pieces)
        self._text_at_s = asyncio.get_running_loop().time()

    async def _depths(self) -> dict[str, Depth]:
        found: dict[str, Depth] = {}
        driver = self._reach()

        async def look(queue: str, base: str) -> None:
            with suppress(TorilError):  # The rest is still worth a scrape.
                found[queue] = await driver.run(depth(base))

        with suppress(TimeoutError):
            async with asyncio.timeout(DEPTH_S):
                await asyncio.gather(*(look(*one) for one in self._bases.items()))
        return found

    # -- what is told to others

    def _records(self) -> dict[str, bytes]:
        up_s = time.monotonic() - self._began_s
        own = Own(
            host=socket.gethostname(),
            pid=os.getpid(),
            nonce=self._nonce,
            state=self._state,
            up_s=up_s,
            queues=tuple(self._bases),
            round_trip_s=self._heartbeat.round_trip_s if self._heartbeat is not None else None,
        )
        sights, health = self._sights(), self._health()
        self._learn_names(sights)
        passed_s, self._told_s = max(up_s - self._told_s, 0.001), up_s
        records = {}
        for sight in sights:
            ends = sight.settled - self._told.get(sight.queue, 0)
            record = record_of(own, sight, health[sight.queue], ends / passed_s)
            records[self._bases[sight.queue]] = record
        self._told = {sight.queue: sight.settled for sight in sights}
        return records

    def _learn_names(self, sights: Iterable[Sight]) -> None:
        if self._metrics is not None:
            self._metrics.names = {sight.queue: sight.names for sight in sights}

    def _reach(self) -> AsyncDriver:
        if self._driver is None:
            self._driver = AsyncDriver(self._url, client_name=self._client_name)
        return self._driver


def _probed(wrong: Iterable[str]) -> Reply:
    lines = list(wrong)
    if not lines:
        return Reply(HTTPStatus.OK, "ok\n")
    return Reply(HTTPStatus.SERVICE_UNAVAILABLE, "\n".join([*lines, ""]))
