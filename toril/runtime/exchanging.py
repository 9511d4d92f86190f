"""One exchange with a server: commands out, a reply for each back, on a connection that is kept.

Connections are redis-py's, the keeping of idle ones is not: for a single `add` its pool's locks and
records of metrics cost as much as sending and reading together, its timeouts for each step more.
A change must keep: a connection on which anything went wrong, or whose replies were not all read,
is closed and never used again.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

import redis

from toril.runtime.wire import AwaitedWire

if TYPE_CHECKING:
    from collections.abc import Sequence

    Promised: TypeAlias = Sequence[asyncio.Future[Any]]


class Connections:
    """Open connections, used by one exchange at a time each; threads may share it.

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

    def knows(self, connection: Any) -> bool:
        """Whether it was neither dropped nor closed with all of them."""
        return connection in self._all

    def drop(self, connection: Any) -> None:
        """It is closed, or will be."""
        self._all.discard(connection)

    def drop_all(self) -> list[Any]:
        """All of them, in use or not; they are to be closed."""
        dropped, self._all = list(self._all), set()
        self._idle.clear()
        return dropped


class AsyncExchanges:
    """Exchanges over asyncio, several at a time, each on a connection of its own.

    Args:
        pool: of redis-py; makes the connections.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._connections = Connections()
        self._timeout_s: float | None = pool.connection_kwargs["socket_timeout"]

    async def make(self, commands: list[bytes]) -> list[Any]:
        """One reply per command, raw; redis-py's `ResponseError` where that was the reply.

        Raises:
            redis.RedisError, OSError: nothing is known about any command.
        """
        connection = await self._opened()
        try:
            replies = await self._made(connection, commands)
        except BaseException as error:
            self._connections.drop(connection)
            await connection.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise redis.TimeoutError("Timeout reading from socket") from None
            if isinstance(error, RuntimeError):  # uvloop's word for a connection that was reset.
                raise redis.ConnectionError(str(error)) from error
            raise
        self._connections.give_back(connection)
        return replies

    async def close(self) -> None:
        """Close every connection, also those in use; new ones are opened when they are needed."""
        for connection in self._connections.drop_all():
            await connection.disconnect()

    async def _made(self, connection: Any, commands: list[bytes]) -> list[Any]:
        """One timer for all: redis-py sets one, and starts a task, for each step of its own."""
        loop, timeout_s, replies = asyncio.get_running_loop(), self._timeout_s, []
        async with asyncio.timeout(timeout_s) as limit:
            await connection.send_packed_command(commands, check_health=False)
            for _ in commands:
                replies.append(await _reply(connection))
                if timeout_s is not None:
                    limit.reschedule(loop.time() + timeout_s)
        return replies

    async def _opened(self) -> Any:
        connection = self._connections.take()
        if connection is not None:
            if self._connections.knows(connection) and await _is_usable(connection):
                return connection
            self._connections.drop(connection)
            await connection.disconnect(nowait=True)
        connection = self._pool.make_connection()
        await connection.connect()
        connection.socket_timeout = None  # Ours is the timer from here on.
        self._connections.add(connection)
        return connection


class SharedWire:
    """One connection on which all tasks of an event loop send; opened when it is needed.

    Args:
        pool: of redis-py; makes the connection.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._timeout_s: float | None = pool.connection_kwargs["socket_timeout"]
        self._wire: AwaitedWire | None = None
        self._changing = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._inherited: list[AwaitedWire | None] = []

    async def ask(self, command: bytes) -> Any:
        """The reply to one command, raw; redis-py's `ResponseError` where that was the reply.

        Raises:
            redis.RedisError, OSError: nothing is known about the command.
        """
        wire = self._wire
        if wire is None or not wire.is_usable or self._pid != os.getpid():
            wire = await self._opened()
        return await wire.ask(command)

    def post(self, commands: Sequence[bytes]) -> Promised | None:
        """Send at once; None where that cannot be: `post_when_open` then."""
        wire = self._wire
        if wire is None or not wire.is_usable or not wire.has_room or self._pid != os.getpid():
            return None
        return wire.post(commands)

    async def open(self) -> None:
        """Open it, if it is not.

        Raises:
            redis.RedisError, OSError: it cannot be opened.
        """
        await self._opened()

    async def post_when_open(self, commands: Sequence[bytes]) -> Promised:
        """Send as soon as there is a connection.

        Raises:
            redis.RedisError, OSError: nothing was sent.
        """
        wire = await self._opened()
        await wire.room()
        return wire.post(commands)

    async def close(self) -> None:
        """Close it; what is under way fails."""
        self._settle_in()
        async with self._changing:
            await self._drop()

    async def _opened(self) -> AwaitedWire:
        self._settle_in()
        async with self._changing:
            if self._wire is None or not self._wire.is_usable:
                await self._drop()
                connection = self._pool.make_connection()
                await connection.connect()
                self._wire = AwaitedWire(connection, self._timeout_s)
            return self._wire

    def _settle_in(self) -> None:
        """Make ready for this process and this event loop, to which a lock belongs.

        After a fork the parent's wire is only kept: to close it would take its socket out of what
        the parent's event loop watches.
        """
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._inherited.append(self._wire)
            self._wire = None
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._changing = loop, asyncio.Lock()

    async def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()


async def _reply(connection: Any) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except redis.ResponseError as error:
        return error


async def _is_usable(connection: Any) -> bool:
    """False where the server has closed an idle connection."""
    writer = connection._writer  # noqa: SLF001 - nothing else tells of a reset
    if writer is None or writer.is_closing():
        return False
    # redis-py 8 has renamed it.
    can_read = getattr(connection, "can_read", None) or connection.can_read_destructive
    try:
        return not await can_read()
    except (redis.RedisError, OSError):
        return False
