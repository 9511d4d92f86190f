"""`toril queue limits`: toril's token bucket, and BullMQ's global rate limit and concurrency."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from toril.cli.output import put, put_json
from toril.cli.parser import UsageError
from toril.cli.records import Bucket, QueueLimits, Window
from toril.runtime.limiter import RateLimit
from toril.units import format_ms, rate, whole

if TYPE_CHECKING:
    import argparse

    from toril.runtime.queue import Queue


def limits(queue: Queue, options: argparse.Namespace) -> int:
    """Change what is to be changed, and tell what is then in force.

    Raises:
        UsageError: a burst without its rate.
        InvalidOption: no rate or number; nothing was changed.
    """
    if options.burst is not None and options.rate_limit is None:
        raise UsageError("--burst is given without --rate-limit; expected both or neither")
    bucket = _bucket(options)
    window = _rate(options.global_rate_limit, "--global-rate-limit")
    most = options.global_concurrency
    concurrency = None if most is None else whole(most, "--global-concurrency")
    if bucket is not None:
        queue.set_rate_limit(bucket)
    elif options.no_rate_limit:
        queue.remove_rate_limit()
    if window is not None:
        queue.set_global_rate_limit(window[0], timedelta(milliseconds=window[1]))
    elif options.no_global_rate_limit:
        queue.remove_global_rate_limit()
    if concurrency is not None:
        queue.set_global_concurrency(concurrency)
    elif options.no_global_concurrency:
        queue.remove_global_concurrency()
    _show(_in_force(queue), options)
    return os.EX_OK


def _bucket(options: argparse.Namespace) -> RateLimit | None:
    given = _rate(options.rate_limit, "--rate-limit")
    if given is None:
        return None
    tokens, per_ms = given
    burst = tokens if options.burst is None else whole(options.burst, "--burst")
    return RateLimit(tokens, per_ms, burst)


def _rate(text: str | None, flag: str) -> tuple[int, int] | None:
    return None if text is None else rate(text, flag)


def _in_force(queue: Queue) -> QueueLimits:
    own, shared = queue.get_rate_limit(), queue.get_global_rate_limit()
    return QueueLimits(
        queue.name,
        None if own is None else Bucket(own.tokens, own.per_ms, own.burst),
        None if shared is None else Window(shared.max, shared.duration_ms),
        queue.get_global_concurrency(),
    )


def _show(found: QueueLimits, options: argparse.Namespace) -> None:
    if options.json:
        put_json(found)
        return
    own, shared = found.rate_limit, found.global_rate_limit
    most = found.global_concurrency
    rows = {
        "rate limit": own and f"{own.tokens} in {format_ms(own.per_ms)}, bursts of {own.burst}",
        "global rate limit": shared and f"{shared.max} in {format_ms(shared.duration_ms)}",
        "global concurrency": None if most is None else str(most),
    }
    for name, words in rows.items():
        put(f"{name:<20}{words or 'none'}")
