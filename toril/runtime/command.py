"""One call of one script, as a value: the seam between what is decided and what is sent.

Pure functions build a `Command`; a driver (the worker's `Store`, the producers' `Queue`) sends it
as EVALSHA and hands the raw reply to `parse`. Nothing here knows a connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

REAL_TIME = ""
"""First argument of every script outside tests: the script asks the server's clock."""


@dataclass(frozen=True, slots=True)
class Command(Generic[T]):
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
