"""The one blocking connection of a queue and supervisor: waiting until there may be work."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import redis

from toril.errors import RedisUnavailable
from toril.runtime.claim import Marker
from toril.runtime.connection import open_async_pool, server_name, translated

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

    from toril.runtime.pipeline import ScriptPipeline

DELAY_MEMBER = b"1"
"""Of the marker: a delayed job is due at its score; the other member is `0`."""

WATCHDOG_S = 1.0
"""Added to the server's own timeout before the connection is given up; given by BullMQ."""

SHORTEST_WAIT_S = 0.002
"""Shortest blocking wait, seconds; 0 would block for ever. Given: Redis before
7.0.8 takes 1 ms for 0."""

_UNBLOCK_PAUSE_S = 0.002
"""Between attempts to unblock a wait whose command has not reached the server yet; chosen."""


class MarkerWait:
    """Pops the queue's marker on a connection of its own, one wait at a time.

    Args:
        url: the server's.
        key: the marker's key.
        client_name: by which BullMQ's `getWorkers` counts this worker, once.
    """

    def __init__(self, url: str, key: str, client_name: str) -> None:
        self._pool = open_async_pool(url, client_name=client_name)
        # The watchdog bounds every step. With a socket timeout redis-py writes inside
        # asyncio.wait_for, which before Python 3.12 may swallow a cancellation.
        self._pool.connection_kwargs["socket_timeout"] = None
        self._server = server_name(url)
        self._key = key
        self._client_id: int | None = None
        self._is_waiting = False

    @property
    def is_waiting(self) -> bool:
        """True while a wait is under way."""
        return self._is_waiting

    async def open(self) -> None:
        """Connect, so that the worker is seen by name before its first wait.

        Raises:
            RedisUnavailable: the server cannot be reached.
        """
        try:
            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
            await self._pool.release(connection)
        except (redis.RedisError, OSError) as error:
            raise translated(error, self._server) from error

    async def wait(self, timeout_s: float) -> Marker | None:
        """The marker as soon as there is one; None when the time is up or the wait unblocked.

        Raises:
            RedisUnavailable: the connection failed, or was silent beyond its time.
        """
        if self._is_waiting:
            raise RuntimeError("one wait at a time")
        self._is_waiting = True
        timeout_s = max(timeout_s, SHORTEST_WAIT_S)
        try:
            reply = await self._popped(timeout_s)
        except TimeoutError:
            raise RedisUnavailable(
                f"Redis at {self._server} was silent for {timeout_s + WATCHDOG_S:g} s "
                f"in a wait of {timeout_s:g} s; the connection is reset"
            ) from None
        except (redis.RedisError, OSError) as error:
            raise translated(error, self._server) from error
        except RuntimeError as error:  # uvloop's word for a connection that was reset.
            reset = redis.ConnectionError(str(error))
            raise translated(reset, self._server) from error
        finally:
            self._is_waiting = False
        if reply is None:
            return None
        _key, member, score = reply
        return _marker(member, score)

    async def unblock(self, other: ScriptPipeline) -> None:
        """End the wait under way, if there is one, as if its time were up.

        Args:
            other: another connection to the same server.

        Raises:
            RedisUnavailable: that connection failed.
        """
        while self._is_waiting:
            client_id = self._client_id
            if client_id is not None and await other.plain("CLIENT", "UNBLOCK", client_id):
                return
            await asyncio.sleep(_UNBLOCK_PAUSE_S)

    async def close(self) -> None:
        """Drop the connection."""
        await self._pool.disconnect()

    async def _popped(self, timeout_s: float) -> Any:
        async with asyncio.timeout(timeout_s + WATCHDOG_S) as watchdog:
            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
            try:
                self._client_id = await _call(connection, "CLIENT", "ID")
                watchdog.reschedule(asyncio.get_running_loop().time() + timeout_s + WATCHDOG_S)
                return await _call(connection, "BZPOPMIN", self._key, f"{timeout_s:.3f}")
            except BaseException:
                # A reply may still be under way: it must not answer the next wait.
                await connection.disconnect(nowait=True)
                raise
            finally:
                self._client_id = None
                await self._pool.release(connection)


def _marker(member: bytes, score: bytes) -> Marker:
    """A wake-up; what a foreign program has put in its place is one to look at once."""
    if member != DELAY_MEMBER:
        return Marker("0", 0)
    due_ms = float(score)
    return Marker("1", int(due_ms) if math.isfinite(due_ms) else 0)


async def _call(connection: AbstractConnection, *command: str) -> Any:
    await connection.send_command(*command)
    return await connection.read_response()
