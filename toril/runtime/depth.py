"""How deep a queue is, for whoever watches it: counts by state, and how long the oldest waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from toril.runtime.dialog import Program, call, plain
from toril.runtime.numbers import stored_number
from toril.runtime.reading import counts
from toril.sizes import MAX_OPTS_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FIELDS = ("timestamp", "processedOn", "opts")


@dataclass(frozen=True, slots=True)
class Depth:
    """A queue at one moment.

    Attributes:
        counts: jobs by state.
        oldest_waiting_s: for how long the oldest job could have run and did not; 0 without any.
    """

    counts: Mapping[str, int]
    oldest_waiting_s: float


class _Opts(msgspec.Struct):
    delay: float = 0


def depth(base: str) -> Program[Depth]:
    """Look at a queue, in three short round trips.

    The oldest job is looked for at both ends of the waiting ones (LIFO jobs come in where others
    leave) and at the front of the prioritized ones: a bound for the others, not a scan of them.

    Raises:
        RedisUnavailable: Redis cannot be reached.
        RedisRefused: a key of the queue has another type.
    """
    by_state = yield from call(counts(base))
    time, newest, oldest, urgent = yield from plain(
        ("TIME",),
        ("LINDEX", f"{base}wait", 0),
        ("LINDEX", f"{base}wait", -1),
        ("ZRANGE", f"{base}prioritized", 0, 0),
    )
    ids = {one for one in (newest, oldest, *urgent) if one is not None}
    if not ids:
        return Depth(by_state, 0.0)
    jobs = yield from plain(*(("HMGET", base.encode() + one, *_FIELDS) for one in ids))
    now_ms = int(time[0]) * 1000 + int(time[1]) // 1000
    since_ms = min((_could_run_ms(job) or now_ms for job in jobs), default=now_ms)
    return Depth(by_state, max(0.0, (now_ms - since_ms) / 1000))


def _could_run_ms(job: Sequence[Any]) -> int | None:
    """Since when it could run: its creation and delay, or its last start where that is later."""
    created_ms, started_ms = stored_number(job[0]), stored_number(job[1])
    if created_ms is None:
        return started_ms
    return max(created_ms + _delay_ms(job[2]), started_ms or 0)


def _delay_ms(opts: bytes | None) -> int:
    if not opts or len(opts) > MAX_OPTS_BYTES:
        return 0
    try:
        return max(0, int(msgspec.json.decode(opts, type=_Opts).delay))
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return 0
