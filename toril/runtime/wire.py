"""One connection to Redis, opened and greeted by redis-py and then driven by us.

Login, TLS, database and timeouts are redis-py's; what it does for every command afterwards (locks,
records of metrics, streams, a timer for each step) takes longer than a small command and its reply.
A change must keep: a reply goes to whoever sent its command, and to nobody when that one is gone; a
connection on which anything went wrong is closed and never used again.
"""

from __future__ import annotations

import asyncio
import os
import select
import ssl
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import hiredis
import redis

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHUNK_BYTES = 65536
"""Asked of a socket at a time; chosen: most replies are smaller, a large one takes few turns."""


class Wire:
    """A blocking connection, for one exchange at a time.

    Args:
        connection: of redis-py, connected; used for nothing else from here on.
    """

    __slots__ = ("_connection", "_is_plain", "_poll", "_reader", "_socket")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._socket = connection._sock  # noqa: SLF001 - its own methods are what is spared
        self._is_plain = not isinstance(self._socket, ssl.SSLSocket)
        self._reader = _reader(connection)
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        self._poll = poller.poll

    @property
    def is_usable(self) -> bool:
        """False where the server has closed it, or said what nobody asked."""
        return not self._poll(0) and not self._reader.has_data()

    def exchange(self, commands: bytes, count: int) -> list[Any]:
        """One reply per command, raw; redis-py's `ResponseError` where that was the reply.

        Raises:
            redis.RedisError, OSError: nothing is known about any command.
        """
        try:
            self._send(commands)
            return [self._reply() for _ in range(count)]
        except TimeoutError:
            raise redis.TimeoutError("Timeout on the socket") from None

    def close(self) -> None:
        """Close it; what is under way in another thread fails."""
        self._connection.disconnect()

    def _send(self, commands: bytes) -> None:
        """As `sendall`, which asks the kernel first whether there is room, as there mostly is."""
        try:
            sent = os.write(self._socket.fileno(), commands) if self._is_plain else 0
        except BlockingIOError:
            sent = 0
        if sent < len(commands):
            self._socket.sendall(memoryview(commands)[sent:])

    def _reply(self) -> Any:
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(_CHUNK_BYTES)
            if not data:
                raise redis.ConnectionError(_CLOSED)
            self._reader.feed(data)
        return checked(reply)


class AwaitedWire(asyncio.BufferedProtocol):
    """A connection of an event loop: whoever sends, replies come in that order.

    Nobody waits for another's reply before sending. A task that is cancelled leaves its place in
    the line, so that its reply is thrown away when it comes.

    Args:
        connection: of redis-py's asyncio, connected; used for nothing else from here on.
        timeout_s: longest time without a reply while one is awaited; None waits for ever.
    """

    def __init__(self, connection: Any, timeout_s: float | None) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._reader = _reader(connection)
        # A view, because asyncio's TLS writes into slices of it, and a bytearray's is a copy. The
        # stub of hiredis names fewer types than it takes.
        self._buffer: Any = memoryview(bytearray(_CHUNK_BYTES))
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._heard_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._transport = connection._writer.transport  # noqa: SLF001 - see the module
        # redis-py's stream waits for the end of the connection when it closes, so it is told.
        self._stream = self._transport.get_protocol()
        self._transport.set_protocol(self)

    @property
    def is_usable(self) -> bool:
        """False once it is closed, by whomever, and on any other event loop."""
        return self._loop is asyncio.get_running_loop() and not self._transport.is_closing()

    @property
    def has_room(self) -> bool:
        """False while the server takes no more."""
        return self._room.is_set()

    async def room(self) -> None:
        """Wait until the server takes more, or is gone."""
        await self._room.wait()

    async def ask(self, command: bytes) -> Any:
        """The reply, raw; redis-py's `ResponseError` where that was the reply.

        Raises:
            redis.RedisError, OSError: nothing is known about the command.
        """
        if not self._room.is_set():
            await self._room.wait()
        (reply,) = self.post((command,))
        return checked(await reply)

    def post(self, commands: Sequence[bytes]) -> list[asyncio.Future[Any]]:
        """Send at once; a reply for each is to come, which is to be `checked`.

        Raises:
            redis.ConnectionError: it is closed, and nothing was sent.
        """
        if self._transport.is_closing():
            raise redis.ConnectionError(_CLOSED)
        if not self._waiting:
            self._heard_s = self._loop.time()
            if self._timer is None and self._timeout_s is not None:
                self._timer = self._loop.call_at(self._heard_s + self._timeout_s, self._watch)
        replies = [self._loop.create_future() for _ in commands]
        self._waiting.extend(replies)
        try:
            self._transport.writelines(commands)
        except RuntimeError as error:  # uvloop's word for a connection that was reset.
            self._break(redis.ConnectionError(str(error)))
        return replies

    async def close(self) -> None:
        """Close it; what is under way fails."""
        with suppress(RuntimeError):  # Its event loop has ended, and cannot be told.
            self._break(redis.ConnectionError("Connection closed by us."))
        await self._connection.disconnect(nowait=True)

    def get_buffer(self, sizehint: int) -> Any:
        """Where to put what comes in: one place, while asyncio makes 256 KiB for every reply."""
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand out what has come in whole."""
        try:
            self._reader.feed(self._buffer, 0, nbytes)
            while (reply := self._reader.gets()) is not False:
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_result(reply)
        except IndexError:
            self._break(redis.ConnectionError("Redis sent a reply that nobody had asked for."))
        except redis.RedisError as error:
            self._break(error)
        self._heard_s = self._loop.time()

    def eof_received(self) -> None:
        """The server has closed it; so does the transport."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits learns of it."""
        self._break(redis.ConnectionError(str(exc) if exc else _CLOSED))
        self._stream.connection_lost(exc)

    def pause_writing(self) -> None:
        """The server takes no more for now."""
        self._room.clear()

    def resume_writing(self) -> None:
        """It does again."""
        self._room.set()

    def _watch(self) -> None:
        """One timer for all: it is not set anew for every reply, but looks when the last came."""
        self._timer = None
        if not self._waiting or self._timeout_s is None:
            return
        due_s = self._heard_s + self._timeout_s
        if self._loop.time() < due_s:
            self._timer = self._loop.call_at(due_s, self._watch)
        else:
            self._break(redis.TimeoutError("Timeout reading from socket"))

    def _break(self, error: redis.RedisError) -> None:
        self._transport.abort()
        self._room.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # Who waits for several looks at the first one only.


_CLOSED = "Connection closed by server."


def _reader(connection: Any) -> hiredis.Reader:
    """Makes replies as redis-py does: bytes, and its own exceptions for errors."""
    error_of = connection._parser.parse_error  # noqa: SLF001 - it has no other name
    return hiredis.Reader(protocolError=redis.InvalidResponse, replyError=error_of)


def checked(reply: Any) -> Any:
    """A server that is not ready says so in an error that is no reply, but the connection's end."""
    if isinstance(reply, redis.ConnectionError):
        raise reply
    return reply
