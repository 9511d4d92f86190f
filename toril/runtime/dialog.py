"""What a producer says to Redis and hears from it, without saying how: programs for a driver.

A program is a generator: it yields `Send` or `Pause` and is resumed with the replies. Everything
that has an order or a decision lives in programs, once; the blocking and the asyncio driver only
carry them out. Here are the pieces that every program uses: scripts that Redis has forgotten are
loaded and only their calls repeated, and what a broken connection left unanswered is sent again.
A change must keep: only calls that may be executed twice go through here (reads, limits, and adds
by their request key).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from redis.exceptions import NoScriptError

from toril.errors import RedisUnavailable
from toril.runtime.command import Packet, forgotten
from toril.runtime.scripts import script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toril.errors import TorilError
    from toril.runtime.command import Command

T = TypeVar("T")

RETRY_PAUSES_S = (0.05, 0.2, 0.5, 1.0)
"""Waits before a broken exchange is tried again; chosen: long enough for a restarted Redis, short
enough for a web request."""


class Send(msgspec.Struct, frozen=True):
    """One pipeline, not a transaction.

    Answered with one reply per packet, or an exception in its place. `RedisUnavailable` is thrown
    in when the connection broke: then nothing is known.

    Attributes:
        packets: commands and their arguments.
        is_blocking: the server may hold the reply back for a while.
    """

    packets: tuple[Packet, ...]
    is_blocking: bool = False


class Pause(msgspec.Struct, frozen=True):
    """Nothing for so many seconds."""

    seconds: float


Program = Generator[Send | Pause, list[Any], T]


def resumed(program: Program[T], answer: list[Any] | TorilError | None) -> Send | Pause:
    """What a program wants next.

    Args:
        program: the program.
        answer: to what it wanted last: replies (none after a pause), or why there are none; None
            at its start.

    Raises:
        StopIteration: it is over; the value is its result.
        TorilError: whatever the program raises.
    """
    if answer is None:
        return next(program)
    return program.send(answer) if isinstance(answer, list) else program.throw(answer)


def call(command: Command[T]) -> Program[T]:
    """Run one command.

    Raises:
        RedisUnavailable: still no connection after the last try.
        RedisRefused: the script answered with an error.
    """
    replies = yield from send((command.packet,))
    if not isinstance(replies[0], Exception):
        return command.parse(replies[0])
    (result,) = yield from _results([command], replies)
    if isinstance(result, Exception):
        raise result
    return result


def call_all(commands: Sequence[Command[T]]) -> Program[list[T | Exception]]:
    """Run commands in one pipeline; an error of one is its result and does not stop the others.

    Raises:
        RedisUnavailable: still no connection after the last try; nothing is known.
    """
    replies = yield from send([command.packet for command in commands])
    return (yield from _results(commands, replies))


def send(packets: Sequence[Packet]) -> Program[list[Any]]:
    """Send packets until they are answered, or the last try has failed.

    Raises:
        RedisUnavailable: still no connection after the last try.
    """
    for pause_s in RETRY_PAUSES_S:
        try:
            return (yield Send(tuple(packets)))
        except RedisUnavailable:
            yield Pause(pause_s)
    return (yield Send(tuple(packets)))


def plain(*packets: Packet) -> Program[list[Any]]:
    """Run commands that are no scripts, in one pipeline; only what may be executed twice.

    Raises:
        RedisUnavailable: still no connection after the last try.
        RedisRefused: one of them was answered with an error.
    """
    replies = yield from send(packets)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def _results(commands: Sequence[Command[T]], replies: list[Any]) -> Program[list[T | Exception]]:
    """What replies mean, those that come once forgotten scripts are loaded included."""
    if unknown := forgotten(replies):
        names = sorted({commands[at].script for at in unknown})
        loads: list[Packet] = [("SCRIPT", "LOAD", script(name).text) for name in names]
        again = yield from send(loads + [commands[at].packet for at in unknown])
        for at, reply in zip(unknown, again[len(loads) :], strict=True):
            replies[at] = reply
    failures = [_failure(reply) for reply in replies]
    trios = zip(commands, replies, failures, strict=True)
    return [failure or command.parse(reply) for command, reply, failure in trios]


def _failure(reply: Any) -> Exception | None:
    if isinstance(reply, NoScriptError):
        return RedisUnavailable("Redis forgets scripts as they are loaded")
    return reply if isinstance(reply, Exception) else None
