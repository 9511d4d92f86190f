"""Numbers as callers give them and as Redis holds them; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toril.errors import InvalidOption

if TYPE_CHECKING:
    from datetime import datetime

EXACT = 2**53
"""First integer whose neighbour a double cannot hold; Lua in Redis knows no other number."""

MAX_COUNT = 2**31 - 1
"""Chosen: any number that someone means."""

MAX_TIME_MS = 2**41 - 1
"""Latest time, epoch ms (in 2039); given by BullMQ: a delayed job's score is ms x 4096."""


def whole(what: str, value: object, least: int = 1, most: int = MAX_COUNT) -> int:
    """The value itself, if it is a whole number in the range.

    Raises:
        InvalidOption: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidOption(f"{what} is {value!r}; expected a whole number from {least} to {most}")
    return value


def epoch_ms(what: str, value: int | datetime) -> int:
    """Epoch milliseconds of a time.

    Raises:
        InvalidOption: a datetime without a time zone, or no such number.
    """
    if isinstance(value, int):
        return whole(what, value, 0, MAX_TIME_MS)
    if getattr(value, "tzinfo", None) is None:
        raise InvalidOption(
            f"{what} is {value!r}; expected epoch milliseconds, or a datetime with a time zone"
        )
    return whole(what, round(value.timestamp() * 1000), 0, MAX_TIME_MS)


def stored_number(raw: bytes | None) -> int | None:
    """A number that Redis holds, which from Node may have a fraction; None for what is none."""
    try:
        return None if raw is None else int(float(raw))
    except (ValueError, OverflowError):
        return None
