"""`toril run`: flags and environment become settings, settings a supervisor."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from toril.errors import InvalidOption
from toril.log import Log
from toril.runtime.embedded import url_of
from toril.runtime.keys import check_queue_name
from toril.runtime.limiter import RateLimit
from toril.sandbox.levels import Level
from toril.sandbox.limits import Limits
from toril.supervisor.settings import QueueSettings, Settings, usable_cores
from toril.supervisor.supervisor import supervise
from toril.units import duration_ms, rate, size_bytes

if TYPE_CHECKING:
    import argparse


def main(options: argparse.Namespace) -> int:
    """Run a supervisor with these flags to its end."""
    try:
        settings = settings_of(options)
    except InvalidOption as error:
        sys.stderr.write(f"toril run: {error}\n")
        return os.EX_CONFIG
    code, reason = supervise(settings, Log(as_json=options.json))
    if reason:
        sys.stderr.write(f"toril run: {reason}\n")
    return code


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that these flags mean.

    Raises:
        InvalidOption: a flag's value cannot be used; nothing was started.
    """
    check_queue_name(options.queue)
    queue = QueueSettings(
        name=options.queue,
        processor=options.processor,
        concurrency=_whole(options.concurrency, "--concurrency", usable_cores()),
        lock_ms=duration_ms(options.lock_duration, "--lock-duration"),
        stalled_interval_ms=duration_ms(options.stalled_interval, "--stalled-interval"),
        max_stalled=_whole(options.max_stalled, "--max-stalled", 1),
        rate_limit=_rate_limit(options),
        max_crashes=_whole(options.max_crashes, "--max-crashes", 3),
        on_crash=options.on_crash,
        level=_level(options.level),
        limits=_limits(options),
        env=tuple(options.env),
    )
    return Settings(
        redis=redis_url(options),
        queues=(queue,),
        prefix=options.prefix,
        drain_timeout_ms=duration_ms(options.drain_timeout, "--drain-timeout"),
        until_empty=options.until_empty,
    )


def redis_url(options: argparse.Namespace) -> str:
    """The server to use: `--redis`, else TORIL_REDIS_URL; `embedded` is started if need be.

    Raises:
        InvalidOption: neither is given, or the flag carries a password.
    """
    flag: str | None = options.redis
    if flag and urlsplit(flag).password:
        raise InvalidOption(
            "--redis carries a password, and command lines are public; "
            "put the URL into the environment variable TORIL_REDIS_URL"
        )
    url = flag or os.environ.get("TORIL_REDIS_URL")
    if not url:
        raise InvalidOption(
            "no server is named; expected --redis URL or TORIL_REDIS_URL, such as "
            "redis://localhost:6379/0, or `--redis embedded` for a private one to try things out"
        )
    return url_of(url)


def _whole(value: str | None, what: str, default: int) -> int:
    if value is None:
        return default
    if not value.isdigit():
        raise InvalidOption(f"{what} is {value!r}; expected a whole number")
    return int(value)


def _rate_limit(options: argparse.Namespace) -> RateLimit | None:
    if options.rate_limit is None:
        if options.burst is not None:
            raise InvalidOption("--burst is given without --rate-limit; expected both or neither")
        return None
    tokens, per_ms = rate(options.rate_limit, "--rate-limit")
    return RateLimit(tokens, per_ms, _whole(options.burst, "--burst", tokens))


def _level(value: str) -> Level:
    try:
        level = Level(value)
    except ValueError:
        names = ", ".join(level.value for level in Level)
        raise InvalidOption(f"--level is {value!r}; expected one of {names}") from None
    if level is not Level.PROCESS:
        raise InvalidOption(
            f"--level {value} is not built yet in this version; only --level process is, which "
            "guards against crashes, leaks and loops and makes no security claim"
        )
    return level


def _limits(options: argparse.Namespace) -> Limits:
    given: dict[str, float | int] = {}
    if options.timeout is not None:
        given["timeout_s"] = duration_ms(options.timeout, "--timeout") / 1000
    for name, field in (
        ("memory", "memory_bytes"),
        ("result_size", "result_bytes"),
        ("output_size", "output_bytes"),
    ):
        value = getattr(options, name)
        if value is not None:
            given[field] = size_bytes(value, "--" + name.replace("_", "-"))
    if options.jobs_per_child is not None:
        given["max_jobs"] = _whole(options.jobs_per_child, "--jobs-per-child", 1)
    return Limits(**given)  # type: ignore[arg-type]  # the names above are its fields
