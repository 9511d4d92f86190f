"""When a schedule by cron pattern runs next; pure but for the zone data of this machine.

The dialect is that of BullMQ's cron-parser, as far as the two agree: five fields, or six with the
seconds first, `L`, `#`, names, `?`, `@daily` and so on. Around a change of clocks a time that does
not exist runs as much later, a time that exists twice runs the first time only, and a pattern for
every hour runs in both. A test compares them over a table of zones and changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
from cronsim import CronSim, CronSimError

from toril.runtime.zone import zone_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@hourly": "0 * * * *",
    "@minutely": "* * * * *",
    "@secondly": "* * * * * *",
    "@weekdays": "0 0 * * 1-5",
    "@weekends": "0 0 * * 0,6",
}
"""Names of patterns; given by cron-parser."""

HOURS = 24
"""Of a day: a pattern that names them all runs in both of two equal ones; given by cron-parser."""

MAX_PATTERN = 1000
"""Characters of a pattern; chosen: any that means something, and read within a millisecond."""


@dataclass(frozen=True, slots=True)
class Due:
    """The next job of the queue carries a schedule on whose next slot has to be found first.

    Attributes:
        id: the job's id.
        opts: its options, JSON text.
    """

    id: str
    opts: bytes


class _Repeat(msgspec.Struct, rename="camel"):
    pattern: str = ""
    tz: str | None = None
    start_date: float | None = None
    end_date: float | None = None


class _Opts(msgspec.Struct, rename="camel"):
    repeat: _Repeat
    prev_millis: float | None = None


_decoder = msgspec.json.Decoder(_Opts, strict=False)


def next_slot(due: Due, now_ms: int) -> int | None:
    """When the schedule runs next, epoch ms; None when it does not.

    Raises:
        ValueError: its options, its pattern or its zone mean nothing; says which.
    """
    try:
        opts = _decoder.decode(due.opts)
        wish = opts.repeat
        after_ms = max(now_ms, int(opts.prev_millis or 0), int(wish.start_date or 0))
    except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError) as error:
        raise ValueError(f"the schedule cannot be read: {error}") from None
    slot_ms = next_match(wish.pattern, wish.tz, after_ms)
    is_over = slot_ms is not None and wish.end_date is not None and slot_ms > wish.end_date
    return None if is_over else slot_ms


def next_match(pattern: str, zone: str | None, after_ms: int) -> int | None:
    """The first time after `after_ms` that the pattern names, epoch ms; None when there is none.

    Raises:
        ValueError: no pattern, or no zone of this name.
    """
    try:
        after = datetime.fromtimestamp(after_ms / 1000, zone_of(zone))
    except (OverflowError, OSError):
        raise ValueError(f"the schedule's last time, {after_ms}, is no time in ms") from None
    for found in _matches(_expression(pattern), after):
        found_ms = round(found.timestamp() * 1000)
        if found_ms > after_ms:
            return found_ms
    return None


def _matches(expression: str, after: datetime) -> Iterator[datetime]:
    """Times of the pattern, in order but for a change of clocks."""
    try:
        if len(CronSim(expression, after).hours) == HOURS:
            yield from CronSim(expression, after)
            return
        for found in CronSim(expression, after.replace(tzinfo=None)):
            # In the second of two equal hours nothing is known of what ran in the first.
            yield found.replace(tzinfo=after.tzinfo, fold=after.fold)
    except (CronSimError, ArithmeticError, AssertionError, TypeError) as error:
        raise ValueError(f"cron pattern {expression!r} cannot be read: {error}") from None


def _expression(pattern: str) -> str:
    """Six fields in cronsim's dialect, where a step is no restriction of days by itself."""
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"cron pattern has {len(pattern)} characters; at most {MAX_PATTERN}")
    words = _ALIASES.get(pattern.strip().lower(), pattern).replace("?", "*").split()
    if len(words) not in {5, 6}:
        raise ValueError(f"cron pattern {pattern!r} has {len(words)} fields; expected 5 or 6")
    *times, days, months, weekdays = words
    if len(times) < 3:  # noqa: PLR2004 - without seconds
        times = ["0", *times]
    days, weekdays = days.replace("*/", "1-31/"), weekdays.replace("*/", "0-6/")
    return " ".join((*times, days, months, weekdays))
