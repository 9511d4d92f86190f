"""Sends commands as raw EVALSHA in one non-transactional pipeline, and isolates their errors.

redis-py's registered scripts would add a round trip per pipeline, and its pipeline packs every
argument in Python and awaits each reply four times: only its connections are used. A script that
the server does not know is loaded, and only what failed for it is sent again: the others have been
executed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import redis
import redis.asyncio
from redis.exceptions import NoScriptError

from toril.errors import RedisUnavailable, TorilError
from toril.runtime.command import Command, forgotten
from toril.runtime.connection import translated
from toril.runtime.exchanging import AsyncExchanges, SharedWire
from toril.runtime.resp import pieces
from toril.runtime.scripts import script, script_names
from toril.runtime.wire import checked

if TYPE_CHECKING:
    from toril.runtime.command import Packet
    from toril.runtime.exchanging import Promised

T = TypeVar("T")
Commands: TypeAlias = Sequence[Command[Any]]


class Posted(NamedTuple):
    """Commands and their bytes; they were sent if `promised`, a reply for each, is there."""

    commands: Commands
    pieces: list[bytes]
    promised: Promised | None


class ScriptPipeline:
    """Commands in, one value or one error of ours for each out.

    What `post` sends has a connection of its own, so that a renewal never waits behind it.
    """

    def __init__(self, pool: redis.asyncio.ConnectionPool, server: str) -> None:
        self._exchanges = AsyncExchanges(pool)
        self._wire = SharedWire(pool)
        self._server = server
        self.answered_s = 0.0

    async def open(self) -> None:
        """Load the scripts, and open the connection of what is posted.

        Raises:
            RedisUnavailable: not now.
            RedisRefused: it refuses scripts.
        """
        await self.load()
        try:
            await self._wire.open()
        except (redis.RedisError, OSError) as error:
            raise translated(error, self._server) from error

    async def close(self) -> None:
        """Drop its connections; what is under way fails."""
        await self._wire.close()
        await self._exchanges.close()

    async def send(self, commands: Commands) -> list[Any]:
        """Every command's parsed reply, or the `TorilError` that took its place.

        Raises:
            RedisUnavailable: the connection failed, so nothing is known about any command.
        """
        replies = await self._evaluate(commands)
        await self._repeat_forgotten(commands, replies)
        return self.parsed(commands, replies)

    def post(self, commands: Commands) -> Posted:
        """Send now, if there is a connection; `answer` must follow."""
        if not commands:
            return Posted(commands, [], ())
        parts = pieces(command.packet for command in commands)
        return Posted(commands, parts, self._wire.post(parts))

    async def answer(self, posted: Posted) -> list[Any]:
        """Every command's reply, for `parsed`; it is sent now, if it was not.

        Raises:
            RedisUnavailable: the connection failed, so nothing is known about any command.
        """
        promised = posted.promised
        try:
            if promised is None:
                promised = await self._wire.post_when_open(posted.pieces)
            replies = [checked(await one) for one in promised]
        except (redis.RedisError, OSError) as error:
            raise translated(error, self._server) from error
        self.answered_s = asyncio.get_running_loop().time()
        await self._repeat_forgotten(posted.commands, replies)
        return replies

    def parsed(self, commands: Commands, replies: Sequence[Any]) -> list[Any]:
        """Every reply as its command wants it, or the `TorilError` that took its place."""
        return [self._result(*pair) for pair in zip(commands, replies, strict=True)]

    async def send_one(self, command: Command[T]) -> T:
        """One command's parsed reply.

        Raises:
            RedisUnavailable: Redis cannot be reached, or cannot take it now.
            RedisRefused: the script ended in an error that would come again.
        """
        (result,) = await self.send([command])
        if isinstance(result, TorilError):
            raise result
        parsed: T = result
        return parsed

    async def plain(self, *command: str | int) -> Any:
        """The reply to one command that is no script; only for what may be sent twice.

        Raises:
            RedisUnavailable: Redis cannot be reached, or is not ready.
            RedisRefused: it refuses the login or the command.
        """
        (reply,) = await self._executed([command])
        if isinstance(reply, Exception):
            raise translated(reply, self._server) from reply
        return reply

    def _result(self, command: Command[Any], reply: Any) -> Any:
        if isinstance(reply, NoScriptError):
            return RedisUnavailable(f"Redis at {self._server} forgets scripts as they are loaded")
        if isinstance(reply, Exception):
            return translated(reply, self._server)
        return command.parse(reply)

    async def _evaluate(self, commands: Commands) -> list[Any]:
        return await self._executed([command.packet for command in commands])

    async def _repeat_forgotten(self, commands: Commands, replies: list[Any]) -> None:
        """Load the scripts that the server does not know, and put in the replies that were due."""
        if unknown := forgotten(replies):
            again = [commands[i] for i in unknown]
            await self.load()
            for i, reply in zip(unknown, await self._evaluate(again), strict=True):
                replies[i] = reply

    async def load(self) -> None:
        """Make every script known to the server.

        All of them, because a pipeline in which one is missing and the next is not would be
        executed out of order: a job's report after its settlement finds its lock gone.

        Raises:
            RedisUnavailable: not now.
            RedisRefused: it refuses scripts.
        """
        loads: list[Packet] = [("SCRIPT", "LOAD", script(name).text) for name in script_names()]
        for reply in await self._executed(loads):
            if isinstance(reply, Exception):
                raise translated(reply, self._server)

    async def _executed(self, packets: Sequence[Packet]) -> list[Any]:
        """One reply per packet, a redis-py `ResponseError` where that was the reply."""
        try:
            replies = await self._exchanges.make(pieces(packets))
        except (redis.RedisError, OSError) as error:
            raise translated(error, self._server) from error
        self.answered_s = asyncio.get_running_loop().time()
        return replies
