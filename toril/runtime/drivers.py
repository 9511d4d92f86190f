"""The two drivers of programs: blocking and asyncio. Only I/O; every decision is in the programs.

Both read replies raw (bytes, int, list, None), so that neither depends on how a version of
redis-py dresses them up. A connection on which anything went wrong is closed, never reused.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar, assert_never

import redis
from redis.exceptions import NoScriptError

from toril.runtime.connection import (
    open_async_pool,
    open_pool,
    server_name,
    slice_ms,
    translated,
)
from toril.runtime.dialog import Done, Pause, Program, Send, advance
from toril.runtime.exchanging import AsyncExchanges, Connections
from toril.runtime.resp import packed, pieces

if TYPE_CHECKING:
    from toril.errors import TorilError
    from toril.runtime.command import Packet

T = TypeVar("T")
Replies = list[Any]

MAX_EXCHANGES = 32
"""Exchanges of one asyncio driver at a time; chosen: Redis answers one after the other anyway, and
a thousand tasks that add a job shall not open a thousand connections."""


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
            match advance(program, answer):
                case Done(value):
                    return value
                case Pause(seconds):
                    time.sleep(seconds)
                    answer = []
                case Send(packets):
                    answer = self._exchanged(packets)
                case never:
                    assert_never(never)

    def close(self) -> None:
        """Close every connection; the driver opens new ones if it is used again."""
        for connection in self._connections.drop_all():
            connection.disconnect()

    def _exchanged(self, packets: tuple[Packet, ...]) -> Replies | TorilError:
        try:
            connection = self._opened()
        except (redis.RedisError, OSError) as error:
            return translated(error, self._server)
        try:
            connection.send_packed_command([packed(packets)], check_health=False)
            replies = [self._reply(connection) for _ in packets]
        except BaseException as error:
            self._connections.drop(connection)
            connection.disconnect()
            if isinstance(error, redis.RedisError | OSError):
                return translated(error, self._server)
            raise
        self._connections.give_back(connection)
        return replies

    def _opened(self) -> Any:
        connection = self._connections.take()
        if connection is not None:
            if self._connections.knows(connection) and _is_usable(connection):
                return connection
            self._connections.drop(connection)
            connection.disconnect()
        connection = self._pool.make_connection()
        connection.connect()
        self._connections.add(connection)
        return connection

    def _reply(self, connection: Any) -> Any:
        try:
            return connection.read_response()
        except redis.ResponseError as error:
            return _as_reply(error, self._server)


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
            match advance(program, answer):
                case Done(value):
                    return value
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                    answer = []
                case Send(packets, is_blocking=True):
                    answer = await self._exchanged(packets)
                case Send(packets):
                    async with self._turns:
                        answer = await self._exchanged(packets)
                case never:
                    assert_never(never)

    async def close(self) -> None:
        """Close every connection; the driver opens new ones if it is used again."""
        await self._exchanges.close()

    async def _exchanged(self, packets: tuple[Packet, ...]) -> Replies | TorilError:
        try:
            replies = await self._exchanges.make(pieces(packets))
        except (redis.RedisError, OSError) as error:
            return translated(error, self._server)
        return [_as_reply(reply, self._server) for reply in replies]


def _is_usable(connection: Any) -> bool:
    """False where the server has closed an idle connection."""
    try:
        return not connection.can_read()
    except (redis.RedisError, OSError):
        return False


def _as_reply(reply: Any, server: str) -> Any:
    """An error reply as ours; NOSCRIPT as it is, for it has a remedy."""
    if not isinstance(reply, redis.ResponseError) or isinstance(reply, NoScriptError):
        return reply
    return translated(reply, server)
