"""`toril run`: flags and environment become settings, settings a supervisor."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from toril.errors import InvalidOption
from toril.events import VariablesUnset
from toril.log import Log
from toril.runtime.connection import has_login
from toril.runtime.embedded import url_of
from toril.runtime.limiter import RateLimit
from toril.runtime.options import KEEP_ALL, KeepRule
from toril.runtime.retry import KEEP_EVERYTHING
from toril.sandbox.allow import Allow
from toril.sandbox.levels import Level
from toril.sandbox.limits import Limits
from toril.supervisor.settings import (
    QueueSettings,
    Settings,
    default_worker_name,
    usable_cores,
)
from toril.supervisor.supervisor import supervise
from toril.units import duration_ms, rate, size_bytes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


MAX_DIGITS = 15
"""Longest whole number; chosen: everything counted here is far below it."""

_FLAGS = {
    "backoff": "backoff",
    "concurrency": "concurrency",
    "child_uid": "child_uid",
    "cpu_s": "cpu",
    "drain_timeout_ms": "drain_timeout",
    "env": "env",
    "import_in": "import_in",
    "level": "level",
    "listener_timeout_s": "listener_timeout",
    "listeners": "listeners",
    "lock_ms": "lock_duration",
    "log_lines": "log_lines",
    "max_age_s": "child_age",
    "max_crashes": "max_crashes",
    "max_jobs": "jobs_per_child",
    "max_rss_growth_bytes": "child_growth",
    "max_started_attempts": "max_started_attempts",
    "max_stalled": "max_stalled",
    "memory_bytes": "memory",
    "metrics_size": "metrics",
    "on_crash": "on_crash",
    "open_files": "open_files",
    "output_bytes": "output_size",
    "prefix": "prefix",
    "processor": "processor",
    "rate limit: burst": "burst",
    "result_bytes": "result_size",
    "soft_timeout_s": "soft_timeout",
    "stalled_interval_ms": "stalled_interval",
    "threads": "threads",
    "timeout_s": "timeout",
    "worker_name": "name",
    "tmp_size_bytes": "tmp_size",
    "waive": "waive",
}
"""The name with which a setting's refusal begins → the flag that fills it."""


def main(options: argparse.Namespace) -> int:
    """Run a supervisor with these flags to its end."""
    settings = settings_of(options)
    with Log(as_json=options.json) as log:
        for queue in settings.queues:
            if unset := tuple(name for name in queue.allow.env if name not in os.environ):
                log(VariablesUnset(queue.name, unset))
        code, reason = supervise(settings, log)
        if reason:
            log.say(f"toril run: {reason}")
    return code


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that these flags mean.

    Raises:
        InvalidInput: a flag's value cannot be used; nothing was started.
    """
    try:
        return _settings(options)
    except InvalidOption as error:
        raise InvalidOption(_in_flags(str(error), options)) from None


def _settings(options: argparse.Namespace) -> Settings:
    queue = QueueSettings(
        name=options.queue,
        processor=options.processor,
        concurrency=whole(options.concurrency, "--concurrency", usable_cores()),
        lock_ms=duration_ms(options.lock_duration, "--lock-duration"),
        stalled_interval_ms=duration_ms(options.stalled_interval, "--stalled-interval"),
        max_stalled=whole(options.max_stalled, "--max-stalled", 1),
        rate_limit=_rate_limit(options),
        max_crashes=whole(options.max_crashes, "--max-crashes", 3),
        on_crash=options.on_crash,
        max_started_attempts=_max_started(options.max_started_attempts),
        keep_completed=_keep(options.remove_on_complete, "--remove-on-complete"),
        keep_failed=_keep(options.remove_on_fail, "--remove-on-fail"),
        metrics_size=whole(options.metrics, "--metrics", 0),
        import_in=options.import_in,
        threads=whole(options.threads, "--threads", 1),
        level=_level(options.level),
        limits=_limits(options),
        backoff=options.backoff,
        listeners=options.listeners,
        listener_timeout_s=_seconds(options.listener_timeout, "--listener-timeout"),
        allow=_allow(options),
        waive=tuple(options.waive),
        child_uid=None if options.child_uid is None else whole(options.child_uid, "--child-uid", 0),
        preload=tuple(options.preload),
    )
    return Settings(
        redis=redis_url(options),
        queues=(queue,),
        prefix=options.prefix,
        drain_timeout_ms=duration_ms(options.drain_timeout, "--drain-timeout"),
        until_empty=options.until_empty,
        worker_name=default_worker_name() if options.name is None else options.name,
    )


def _in_flags(message: str, options: argparse.Namespace) -> str:
    """A setting's refusal in the user's words: the flag, and its value as it was typed."""
    for name, option in _FLAGS.items():
        if message.startswith(name + " "):
            flag = "--import" if option == "import_in" else "--" + option.replace("_", "-")
            typed = getattr(options, option)
            what, expected, rest = message.partition("; expected")
            if what.startswith(name + " is ") and isinstance(typed, str):
                return f"{flag} is {typed!r}{expected}{rest}"
            return flag + message.removeprefix(name)
    return message


def redis_url(options: argparse.Namespace) -> str:
    """The server to use: `--redis`, else TORIL_REDIS_URL; `embedded` is started if need be.

    Raises:
        InvalidOption: neither is given, or the flag carries a user or a password.
    """
    flag: str | None = options.redis
    if flag and has_login(flag):
        raise InvalidOption(
            "--redis carries a user or a password, and command lines are public; "
            "put the URL into the environment variable TORIL_REDIS_URL"
        )
    url = flag or os.environ.get("TORIL_REDIS_URL")
    if not url:
        raise InvalidOption(
            "no server is named; expected --redis URL or TORIL_REDIS_URL, such as "
            "redis://localhost:6379/0, or `--redis embedded` for a private one to try things out"
        )
    return url_of(url)


def whole(value: str | None, what: str, default: int) -> int:
    """The number that a flag gives, or the default.

    Raises:
        InvalidOption: it is given and is no whole number.
    """
    if value is None:
        return default
    if not (value.isascii() and value.isdecimal() and len(value) <= MAX_DIGITS):
        raise InvalidOption(f"{what} is {value!r}; expected a whole number")
    return int(value)


def _max_started(value: str | None) -> int | None:
    return None if value is None else whole(value, "--max-started-attempts", 0)


def _keep(value: str | None, what: str) -> KeepRule:
    """The rule that a flag gives: a number of jobs, an age, or both.

    Raises:
        InvalidOption: something else.
    """
    if value is None:
        return KEEP_EVERYTHING
    parts = [part.strip() for part in value.split(",")]
    counts = [part for part in parts if part.isascii() and part.isdecimal()]
    ages = [part for part in parts if part not in counts]
    if len(counts) > 1 or len(ages) > 1:
        raise InvalidOption(f"{what} is {value!r}; expected 1000, 24h, or 1000,24h")
    count = whole(counts[0], what, 0) if counts else KEEP_ALL
    try:
        return KeepRule(count, duration_ms(ages[0], what) / 1000 if ages else None)
    except InvalidOption:
        raise InvalidOption(
            f"{what} is {value!r}; expected how many jobs stay, how long, or both: 1000, 24h, "
            "1000,24h"
        ) from None


def _rate_limit(options: argparse.Namespace) -> RateLimit | None:
    if options.rate_limit is None:
        if options.burst is not None:
            raise InvalidOption("--burst is given without --rate-limit; expected both or neither")
        return None
    tokens, per_ms = rate(options.rate_limit, "--rate-limit")
    return RateLimit(tokens, per_ms, whole(options.burst, "--burst", tokens))


def _level(value: str) -> Level:
    try:
        return Level(value)
    except ValueError:
        names = ", ".join(level.value for level in Level)
        raise InvalidOption(f"--level is {value!r}; expected one of {names}") from None


def _allow(options: argparse.Namespace) -> Allow:
    return Allow(
        read=tuple(os.path.abspath(path) for path in options.allow_read),  # noqa: PTH100 - text
        write=tuple(os.path.abspath(path) for path in options.allow_write),  # noqa: PTH100 - text
        network=("tcp",) if options.allow_network else (),
        exec=options.allow_exec,
        env=tuple(options.env),
        queues=tuple(options.allow_queue),
        **(
            {"tmp_size_bytes": size_bytes(options.tmp_size, "--tmp-size")}
            if options.tmp_size
            else {}
        ),
    )


def _limits(options: argparse.Namespace) -> Limits:
    given: dict[str, float | int] = {}
    for field, (option, kind) in _LIMITS.items():
        typed = getattr(options, option)
        if typed is not None:
            given[field] = kind(typed, "--" + option.replace("_", "-"))
    return Limits(**given)  # type: ignore[arg-type]  # the names above are its fields


def _seconds(typed: str, what: str) -> float:
    return duration_ms(typed, what) / 1000


def _number(typed: str, what: str) -> int:
    return whole(typed, what, 0)


_LIMITS: dict[str, tuple[str, Callable[[str, str], float | int]]] = {
    "timeout_s": ("timeout", _seconds),
    "soft_timeout_s": ("soft_timeout", _seconds),
    "cpu_s": ("cpu", _seconds),
    "memory_bytes": ("memory", size_bytes),
    "open_files": ("open_files", _number),
    "result_bytes": ("result_size", size_bytes),
    "output_bytes": ("output_size", size_bytes),
    "log_lines": ("log_lines", _number),
    "max_jobs": ("jobs_per_child", _number),
    "max_age_s": ("child_age", _seconds),
    "max_rss_growth_bytes": ("child_growth", size_bytes),
}
"""Field of `Limits` → the flag that fills it, and how its text is read."""
