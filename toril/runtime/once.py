"""Running a command that must not be executed twice, also when its reply is lost.

The script remembers its reply under a request's name; the same request again is answered from
memory. A change must keep: a request whose end is not known is never used for another command.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, TypeVar

from toril.runtime.adding import RequestKeys
from toril.runtime.dialog import Program, call

if TYPE_CHECKING:
    from collections.abc import Callable

    from toril.runtime.command import Command

T = TypeVar("T")
Request = tuple[str, str]

UNNAMED: Request = ("", "")
"""A request that scripts do not remember."""

_KEYS = RequestKeys()
"""Keys under which Redis remembers, of the whole process: safe to use by threads and after a fork.
Reused, because each one stays there for some minutes."""


def once(command_for: Callable[[Request], Command[T]]) -> Program[T]:
    """Run one command, again if its reply is lost; it is executed once.

    Raises:
        RedisUnavailable: still no connection after the last try; it is not known to be executed.
        RedisRefused: the script answered with an error.
    """
    key = _KEYS.take()
    result = yield from call(command_for((key.nonce, uuid.uuid4().hex)))
    _KEYS.give_back(key)
    return result
