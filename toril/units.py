"""Durations, sizes and rates: strings with units in, numbers out; pure.

A bare number is refused on purpose: `timeout = 30` does not say seconds or milliseconds.
"""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from toril.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Mapping

_DURATION_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZE_BYTES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|KiB|MiB|GiB)")
_RATE = re.compile(r"(\d+)/(.+)")

MAX_DURATION_MS = 10 * 365 * 86_400_000
"""Ten years; chosen: beyond it a delayed score (ms x 4096) would leave the exact doubles."""


MAX_DIGITS = 15
"""Longest whole number; chosen: everything counted here is far below it."""


def duration_ms(value: str | timedelta, what: str = "duration") -> int:
    """Milliseconds of `"30s"`, `"1m30s"`, `"250ms"` or a timedelta, rounded to the nearest.

    Raises:
        InvalidOption: not such a string, negative, or over ten years.
    """
    if isinstance(value, timedelta):
        ms = round(value / timedelta(milliseconds=1))
    else:
        parts = _DURATION.findall(value) if isinstance(value, str) else []
        if not parts or "".join(n + u for n, u in parts) != value.replace(" ", ""):
            raise InvalidOption(
                f"{what} is {value!r}; expected a number with a unit out of "
                f'{", ".join(_DURATION_MS)}, such as "30s" or "1m30s"'
            )
        ms = round(sum(Fraction(n) * _DURATION_MS[u] for n, u in parts))
    if not 0 <= ms <= MAX_DURATION_MS:
        raise InvalidOption(f"{what} is {value!r}; expected between 0 and 10 years")
    return ms


def size_bytes(value: str, what: str = "size") -> int:
    """Bytes of `"512MiB"`, `"64kB"`, `"1.5GiB"`.

    Raises:
        InvalidOption: not a number with a unit.
    """
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InvalidOption(
            f"{what} is {value!r}; expected a number with a unit out of "
            f'{", ".join(_SIZE_BYTES)}, such as "512MiB"'
        )
    return round(Fraction(match[1]) * _SIZE_BYTES[match[2]])


def rate(value: str, what: str = "rate") -> tuple[int, int]:
    """(tokens, per in ms) of `"200/60s"`, `"10/s"`.

    Raises:
        InvalidOption: not `tokens/duration`, or one of the two is 0.
    """
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InvalidOption(f'{what} is {value!r}; expected tokens/duration, such as "200/60s"')
    per = match[2] if match[2][0].isdigit() else "1" + match[2]
    tokens, per_ms = int(match[1]), duration_ms(per, what)
    if tokens < 1 or per_ms < 1:
        raise InvalidOption(f"{what} is {value!r}; expected at least 1 token and at least 1 ms")
    return tokens, per_ms


def whole(value: str | int, what: str = "number") -> int:
    """A whole number, or its digits.

    Raises:
        InvalidOption: neither, negative, or of more than 15 digits.
    """
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        if len(value) <= MAX_DIGITS:
            return int(value)
    elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**MAX_DIGITS:
        return value
    raise InvalidOption(f"{what} is {value!r}; expected a whole number")


def format_exactly(name: str, value: float) -> float | str:
    """A number with the unit that its name ends with, as the parsers here read it back.

    `("lock_ms", 30000)` is `"30s"`; a name without a unit leaves the number.
    """
    if name.endswith("_bytes"):
        return _in_units(
            round(value), {unit: _SIZE_BYTES[unit] for unit in ("B", "KiB", "MiB", "GiB")}
        )
    if name.endswith(("_ms", "_s")):
        return _in_units(round(value if name.endswith("_ms") else value * 1000), _DURATION_MS)
    return value


def _in_units(count: int, units: Mapping[str, int]) -> str:
    """In the largest unit of which it is a whole number."""
    largest = max(
        (unit for unit, size in units.items() if count % size == 0), key=units.__getitem__
    )
    return f"{count // units[largest]}{largest if count else min(units, key=units.__getitem__)}"


def format_ms(ms: float) -> str:
    """A duration for people: `340 ms`, `12.5 s`, `3 m 20 s`, `2 h 5 m`."""
    if ms < _DURATION_MS["s"]:
        return f"{ms:.0f} ms"
    if ms < _DURATION_MS["m"]:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    if minutes < 60:  # noqa: PLR2004 - minutes of an hour
        return f"{minutes} m {seconds} s"
    return f"{minutes // 60} h {minutes % 60} m"


def format_bytes(count: float) -> str:
    """A size for people: `812 B`, `1.5 KiB`, `512 MiB`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if abs(size) < 1024:  # noqa: PLR2004 - the binary step
            return f"{size:.3g} {unit}" if size % 1 else f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.3g} GiB"
