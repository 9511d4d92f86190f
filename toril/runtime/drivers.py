"""The two drivers of programs: blocking and asyncio. Only I/O; every decision is in the programs.

Both read replies raw (bytes, int, list, None), so that neither depends on how a version of
redis-py dresses them up. A connection on which anything went wrong is closed, never reused.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

import redis
from redis.exceptions import NoScriptError

from toril.runtime.connection import (
    open_async_pool,
    open_pool,
    server_name,
    slice_ms,
    translated,
)
from toril.runtime.dialog import Pause, Program, resumed
from toril.runtime.exchanging import AsyncExchanges, Connections, SharedWire
from toril.runtime.resp import packed, pieces
from toril.runtime.wire import Wire

if TYPE_CHECKING:
    from toril.errors import TorilError
    from toril.runtime.command import Packet

T = TypeVar("T")
Replies = list[Any]

MAX_EXCHANGES = 32
"""Exchanges of one asyncio driver at a time; chosen: Redis answers one after the other anyway, and
a thousand tasks that add a job shall not open a thousand connections."""

MAX_SHARED_BYTES = 65536
"""Longest command on the connection that tasks share; chosen: others wait until it is sent."""


class BlockingDriver:
    """Runs programs in the calling thread; threads may share it.

    Attributes:
        slice_ms: longest block of one command that the connections' timeouts allow.

    Raises:
        InvalidOption: a URL that cannot be used.
    """

    def __init__(self, url: str, *, client_name: str | None = None) -> None:
        # redis-py annotates its connections in part; what is read from them is checked by us.
        self._pool: Any = open_pool(url, client_name=client_name)
        self._connections = Connections()
        self._server = server_name(url)
        self.slice_ms = slice_ms(self._pool)

    def run(self, program: Program[T]) -> T:
        """The program's result.

        Raises:
            TorilError: whatever the program raises.
        """
        answer: Replies | TorilError | None = None
        while True:
            try:
                wanted = resumed(program, answer)
            except StopIteration as stop:
                result: T = stop.value
                return result
            if isinstance(wanted, Pause):
                time.sleep(wanted.seconds)
                answer = []
            else:
                answer = self._exchanged(wanted.packets)

    def close(self) -> None:
        """Close every connection; the driver opens new ones if it is used again."""
        for wire in self._connections.drop_all():
            wire.close()

    def _exchanged(self, packets: tuple[Packet, ...]) -> Replies | TorilError:
        try:
            wire = self._opened()
        except (redis.RedisError, OSError) as error:
            return translated(error, self._server)
        try:
            replies = wire.exchange(packed(packets), len(packets))
        except BaseException as error:
            self._connections.drop(wire)
            wire.close()
            if isinstance(error, redis.RedisError | OSError):
                return translated(error, self._server)
            raise
        self._connections.give_back(wire)
        return [_as_reply(reply, self._server) for reply in replies]

    def _opened(self) -> Wire:
        wire: Wire | None = self._connections.take()
        if wire is not None:
            if self._connections.knows(wire) and wire.is_usable:
                return wire
            self._connections.drop(wire)
            wire.close()
        connection = self._pool.make_connection()
        connection.connect()
        wire = Wire(connection)
        self._connections.add(wire)
        return wire


class AsyncDriver:
    """Runs programs on the running event loop; tasks of that loop may share it.

    Attributes:
        slice_ms: longest block of one command that the connections' timeouts allow.

    Raises:
        InvalidOption: a URL that cannot be used.
    """

    def __init__(self, url: str, *, client_name: str | None = None) -> None:
        self._pool: Any = open_async_pool(url, client_name=client_name)
        self._exchanges = AsyncExchanges(self._pool)
        self._shared = SharedWire(self._pool)
        self._server = server_name(url)
        self.slice_ms = slice_ms(self._pool)
        self._turns = asyncio.Semaphore(MAX_EXCHANGES)

    async def run(self, program: Program[T]) -> T:
        """The program's result.

        Raises:
            TorilError: whatever the program raises.
        """
        answer: Replies | TorilError | None = None
        while True:
            try:
                wanted = resumed(program, answer)
            except StopIteration as stop:
                result: T = stop.value
                return result
            if isinstance(wanted, Pause):
                await asyncio.sleep(wanted.seconds)
                answer = []
            else:
                answer = await self._exchanged(wanted.packets, is_blocking=wanted.is_blocking)

    async def close(self) -> None:
        """Close every connection; the driver opens new ones if it is used again."""
        await self._shared.close()
        await self._exchanges.close()

    async def _exchanged(
        self, packets: tuple[Packet, ...], *, is_blocking: bool
    ) -> Replies | TorilError:
        commands = pieces(packets)
        is_short = len(commands) == 1 and len(commands[0]) <= MAX_SHARED_BYTES
        try:
            if is_short and not is_blocking:
                replies = [await self._shared.ask(commands[0])]
            elif is_blocking:
                replies = await self._exchanges.make(commands)
            else:
                async with self._turns:
                    replies = await self._exchanges.make(commands)
        except (redis.RedisError, OSError) as error:
            return translated(error, self._server)
        return [_as_reply(reply, self._server) for reply in replies]


def _as_reply(reply: Any, server: str) -> Any:
    """An error reply as ours; NOSCRIPT as it is, for it has a remedy."""
    if not isinstance(reply, redis.ResponseError) or isinstance(reply, NoScriptError):
        return reply
    return translated(reply, server)
