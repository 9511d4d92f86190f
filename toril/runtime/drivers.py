"""The two drivers of programs: blocking and asyncio. Only I/O; every decision is in the programs.

Both read replies raw (bytes, int, list, None), so that neither depends on how a version of
redis-py dresses them up. A connection on which anything went wrong is closed, never reused.

Connections are redis-py's, the keeping of idle ones is not: for a single `add` its pool's locks and
records of metrics cost as much as sending and reading together, its timeouts for each step more.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
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
from toril.runtime.resp import packed

if TYPE_CHECKING:
    from toril.errors import TorilError
    from toril.runtime.command import Packet

T = TypeVar("T")
Replies = list[Any]

MAX_EXCHANGES = 32
"""Exchanges of one asyncio driver at a time; chosen: Redis answers one after the other anyway, and
a thousand tasks that add a job shall not open a thousand connections."""


class _Connections:
    """A driver's open connections, used by one exchange at a time each; threads may share it.

    They do not survive a fork: parent and child would read each other's replies.
    """

    def __init__(self) -> None:
        self._idle: deque[Any] = deque()
        self._all: set[Any] = set()
        self._pid = os.getpid()

    def take(self) -> Any | None:
        """An idle one; the server may have closed it meanwhile."""
        if self._pid != os.getpid():
            self._idle, self._all, self._pid = deque(), set(), os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def add(self, connection: Any) -> None:
        """It is open, and in use."""
        self._all.add(connection)

    def give_back(self, connection: Any) -> None:
        """Everything sent on it was answered."""
        if connection in self._all:
            self._idle.append(connection)

    def drop(self, connection: Any) -> None:
        """It is closed, or will be."""
        self._all.discard(connection)

    def drop_all(self) -> list[Any]:
        """All of them, in use or not; they are to be closed."""
        dropped, self._all = list(self._all), set()
        self._idle.clear()
        return dropped


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
        self._connections = _Connections()
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
            if _is_usable(connection):
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
        self._connections = _Connections()
        self._server = server_name(url)
        self.slice_ms = slice_ms(self._pool)
        self._timeout_s: float | None = self._pool.connection_kwargs["socket_timeout"]
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
        for connection in self._connections.drop_all():
            await connection.disconnect()

    async def _exchanged(self, packets: tuple[Packet, ...]) -> Replies | TorilError:
        try:
            connection = await self._opened()
        except (redis.RedisError, OSError) as error:
            return translated(error, self._server)
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.send_packed_command([packed(packets)], check_health=False)
                replies = [await self._reply(connection) for _ in packets]
        except BaseException as error:
            self._connections.drop(connection)
            await connection.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                error = redis.TimeoutError("Timeout reading from socket")
            if isinstance(error, redis.RedisError | OSError):
                return translated(error, self._server)
            raise
        self._connections.give_back(connection)
        return replies

    async def _opened(self) -> Any:
        connection = self._connections.take()
        if connection is not None:
            if await _is_async_usable(connection):
                return connection
            self._connections.drop(connection)
            await connection.disconnect(nowait=True)
        connection = self._pool.make_connection()
        await connection.connect()
        # From here on one timer for the whole exchange: redis-py sets one, and starts a task, for
        # each of its parts, which takes longer than the exchange.
        connection.socket_timeout = None
        self._connections.add(connection)
        return connection

    async def _reply(self, connection: Any) -> Any:
        try:
            return await connection.read_response()
        except redis.ResponseError as error:
            return _as_reply(error, self._server)


def _is_usable(connection: Any) -> bool:
    """False where the server has closed an idle connection."""
    try:
        return not connection.can_read()
    except (redis.RedisError, OSError):
        return False


async def _is_async_usable(connection: Any) -> bool:
    """False where the server has closed an idle connection."""
    # redis-py 8 has renamed it.
    can_read = getattr(connection, "can_read", None) or connection.can_read_destructive
    try:
        return not await can_read()
    except (redis.RedisError, OSError):
        return False


def _as_reply(error: redis.ResponseError, server: str) -> Exception:
    """An error reply in its place; NOSCRIPT as it is, for it has a remedy."""
    return error if isinstance(error, NoScriptError) else translated(error, server)
