"""BullMQ's own limits of a queue: global concurrency, global rate limit, and holds; programs.

They stand in the hash `meta` and the key `limiter`, and bind every kind of worker. The token bucket
of `limiter.py` is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from toril.runtime.dialog import Program, call, plain
from toril.runtime.limiter import RateLimit, offer_limit
from toril.runtime.numbers import stored_number, whole
from toril.units import duration_ms

if TYPE_CHECKING:
    from datetime import timedelta

OVER_ANY_MAX = 9007199254740991
"""What a limiter counts that lets nothing pass; given by BullMQ."""


@dataclass(frozen=True, slots=True)
class GlobalRateLimit:
    """BullMQ's limit of a queue: at most `max` jobs start in `duration_ms`."""

    max: int
    duration_ms: int


def set_global_concurrency(base: str, concurrency: int) -> Program[None]:
    """Let at most so many jobs of the queue run, over all workers.

    Raises:
        InvalidOption: no whole number from 1.
    """
    whole("concurrency", concurrency)
    yield from plain(("HSET", f"{base}meta", "concurrency", concurrency))


def get_global_concurrency(base: str) -> Program[int | None]:
    """How many jobs of the queue may run, over all workers; None without a limit."""
    (reply,) = yield from plain(("HGET", f"{base}meta", "concurrency"))
    return stored_number(reply)


def remove_global_concurrency(base: str) -> Program[None]:
    """Let as many jobs run as the workers take."""
    yield from plain(("HDEL", f"{base}meta", "concurrency"))


def set_global_rate_limit(base: str, max: int, duration: str | timedelta) -> Program[None]:  # noqa: A002 - BullMQ's name
    """Set BullMQ's rate limit: at most `max` jobs start in each `duration`, over all workers.

    Every kind of worker obeys it; toril's own limit, `set_rate_limit`, only ours do.

    Raises:
        InvalidOption: no whole number from 1, or no duration of 1 ms and more.
    """
    whole("max", max)
    window_ms = duration_ms(duration, "duration")
    whole("duration in milliseconds", window_ms)
    yield from plain(("HSET", f"{base}meta", "max", max, "duration", window_ms))


def get_global_rate_limit(base: str) -> Program[GlobalRateLimit | None]:
    """BullMQ's rate limit of the queue; None without one."""
    ((max_, window_ms),) = yield from plain(("HMGET", f"{base}meta", "max", "duration"))
    limit = stored_number(max_)
    return None if limit is None else GlobalRateLimit(limit, stored_number(window_ms) or 0)


def remove_global_rate_limit(base: str) -> Program[None]:
    """Take BullMQ's rate limit away."""
    yield from plain(("HDEL", f"{base}meta", "max", "duration"))


def get_rate_limit(base: str) -> Program[RateLimit | None]:
    """Toril's own limit of the queue, as `set_rate_limit` sets it; None without one."""
    return (yield from call(offer_limit(base, None)))


def rate_limit(base: str, duration: str | timedelta) -> Program[None]:
    """Let nothing of the queue start for so long.

    Our workers obey it always, BullMQ's where a limit is set, theirs or the global one.

    Raises:
        InvalidOption: no duration of 1 ms and more.
    """
    hold_ms = duration_ms(duration, "duration")
    whole("duration in milliseconds", hold_ms)
    yield from plain(
        ("SET", f"{base}toril:hold", OVER_ANY_MAX, "PX", hold_ms),
        ("SET", f"{base}limiter", OVER_ANY_MAX, "PX", hold_ms),
    )


def get_rate_limit_ttl(base: str, max_jobs: int | None = None) -> Program[int]:
    """For how many milliseconds BullMQ's limit lets nothing start; 0 when it does.

    Args:
        base: `P:Q:`.
        max_jobs: a worker's limit to ask for; without it the global one counts, and without that
            the time until the window ends.
    """
    count, ttl_ms, max_ = yield from plain(
        ("GET", f"{base}limiter"), ("PTTL", f"{base}limiter"), ("HGET", f"{base}meta", "max")
    )
    limit = max_jobs or stored_number(max_)
    if limit and (stored_number(count) or 0) < limit:
        return 0
    return int(max(ttl_ms, 0))


def remove_rate_limit_key(base: str) -> Program[None]:
    """Let jobs start again after `rate_limit`, or before the window of BullMQ's limit ends."""
    yield from plain(("DEL", f"{base}limiter", f"{base}toril:hold"))
