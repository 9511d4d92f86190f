"""The one subscribed connection of a queue and supervisor: questions about running jobs."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any

import redis

from toril.errors import RedisUnavailable
from toril.runtime.asking import parse_ask
from toril.runtime.connection import open_async_pool, server_name, translated

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from redis.asyncio.connection import AbstractConnection

    from toril.runtime.asking import Ask

PING_EVERY_S = 15.0
"""Silence after which the server is asked whether it is there; chosen: half a default lock, after
which a renewal tells of a cancellation anyway."""

MAX_PAUSE_S = 5.0
"""Longest pause between two tries to subscribe; chosen as for every other connection."""

_FIRST_PAUSE_S = 0.05


class Listener:
    """Reads one channel on a connection of its own, and comes back after every outage.

    Nothing is stored here: what is published faster than it is read waits in the server, which
    closes a connection that does not read (`client-output-buffer-limit pubsub`).

    Args:
        url: the server's.
        channel: the channel.
        client_name: of the connection.
        ping_every_s: silence after which the server is asked whether it is there, seconds.
    """

    def __init__(
        self, url: str, channel: str, client_name: str, *, ping_every_s: float = PING_EVERY_S
    ) -> None:
        self._pool = open_async_pool(url, client_name=client_name)
        # Reads are bounded by `ping_every_s`; for writes see MarkerWait.
        self._pool.connection_kwargs["socket_timeout"] = None
        self._server = server_name(url)
        self._channel = channel
        self._ping_every_s = ping_every_s
        self._is_closed = False

    async def asks(self) -> AsyncGenerator[Ask, None]:
        """Every question, for as long as it is iterated; ends with `close`.

        What is published during an outage is lost. Messages that are no questions are left out.

        Raises:
            RedisRefused: Redis does not let us listen.
        """
        pause_s = _FIRST_PAUSE_S
        while not self._is_closed:
            try:
                async with contextlib.aclosing(self._messages()) as messages:
                    async for message in messages:
                        pause_s = _FIRST_PAUSE_S
                        if (ask := parse_ask(message)) is not None:
                            yield ask
            except (redis.RedisError, OSError) as error:
                ours = translated(error, self._server)
                if not isinstance(ours, RedisUnavailable):
                    raise ours from error
            if not self._is_closed:
                await asyncio.sleep(pause_s * random.random())  # noqa: S311 - jitter
                pause_s = min(pause_s * 2, MAX_PAUSE_S)

    async def close(self) -> None:
        """Drop the connection."""
        self._is_closed = True
        await self._pool.disconnect()

    async def _messages(self) -> AsyncGenerator[bytes, None]:
        """What is published, until the connection ends."""
        connection: Any = await self._connected()
        try:
            await connection.send_command("SUBSCRIBE", self._channel)
            while (reply := await self._reply(connection)) is not None:
                if reply[0] == b"message":
                    yield reply[2]
        finally:
            # A subscribed connection answers nothing else.
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)

    async def _connected(self) -> Any:
        async with asyncio.timeout(self._ping_every_s):
            return await self._pool.get_connection()  # type: ignore[no-untyped-call]

    async def _reply(self, connection: AbstractConnection) -> Any:
        """The next reply; None when the server is silent even to a PING."""
        for _ in range(2):
            reply = await connection.read_response(timeout=self._ping_every_s)
            if reply is not None:
                return reply
            await connection.send_command("PING")
        return None
