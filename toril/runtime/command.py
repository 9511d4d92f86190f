"""One call of one script, as a value: the seam between what is decided and what is sent.

Pure functions build a `Command`; a driver (the worker's `Store`, the producers' `Queue`) sends it
as EVALSHA and hands the raw reply to `parse`. Nothing here knows a connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from redis.exceptions import NoScriptError

from toril.runtime.scripts import script

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
Packet = tuple[str | bytes | int, ...]
"""One command and its arguments, as they are sent."""

REAL_TIME = ""
"""First argument of every script outside tests: the script asks the server's clock."""


class Command(msgspec.Struct, Generic[T], frozen=True):
    """One call of one script.

    Attributes:
        script: file name in `lua/` without its ending.
        keys: KEYS; the first is the queue's base `P:Q:`, from which the script makes the others.
        args: ARGV; the first is `now_ms`, `REAL_TIME` in production.
        parse: raw reply (bytes, int, list, None) to the value the caller wants.
    """

    script: str
    keys: tuple[str, ...]
    args: tuple[str | bytes | int, ...]
    parse: Callable[[Any], T]

    @property
    def packet(self) -> Packet:
        """As it is sent: raw EVALSHA, because the server knows the script from an earlier load."""
        return ("EVALSHA", script(self.script).sha, len(self.keys), *self.keys, *self.args)


def forgotten(replies: Sequence[Any]) -> list[int]:
    """Places of the calls that were not executed: the server does not know their scripts."""
    return [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
