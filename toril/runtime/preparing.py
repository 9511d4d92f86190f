"""A new job's checks, and the form in which it is stored; pure.

Everything is checked here, before anything is sent. A change must keep: what is stored is what
Node's `queue.add` would have stored for the same options.
Source: observed with bullmq 6.7.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from toril.correlation import MAX_CHARS, OPTION
from toril.errors import InvalidInput, InvalidOption
from toril.runtime.jobdata import JsonText, data_text
from toril.runtime.keys import check_job_id
from toril.runtime.newjob import MAX_PRIORITY, OPTIONS, NewJob, given_options
from toril.runtime.numbers import MAX_COUNT, MAX_TIME_MS, epoch_ms, whole
from toril.runtime.options import KEEP_ALL, Backoff, KeepRule
from toril.runtime.ties import CHILD_FLAGS, stored_ties
from toril.sizes import MAX_DATA_BYTES, MAX_NAME_BYTES, MAX_OPTS_BYTES
from toril.telemetry import Telemetry
from toril.units import duration_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from toril.runtime.newjob import AddOptions, JobDefaults, KeepOption


@dataclass(frozen=True, slots=True)
class StoredOptions:
    """Options that passed every check, in the form in which they are stored; jobs may share them.

    Attributes:
        text: JSON text, BullMQ's names.
        custom_id: empty for an automatic one.
        timestamp: epoch milliseconds; empty for the server's clock.
        delay_ms: 0 for none.
        priority: 0 for none.
        lifo: run next.
        size_limit: bytes of the data's JSON text; 0 for no limit of its own.
        deduplication: JSON text; empty without.
        parent_key: full key of the parent; empty without.
        parent: JSON text of the field `parent`; empty without.
    """

    text: bytes
    custom_id: str = ""
    timestamp: str = ""
    delay_ms: int = 0
    priority: int = 0
    lifo: bool = False
    size_limit: int = 0
    deduplication: bytes = b""
    parent_key: str = ""
    parent: bytes = b""

    @property
    def is_tied(self) -> bool:
        """Is there a parent or a deduplication id?"""
        return bool(self.deduplication or self.parent_key)

    @property
    def is_standard(self) -> bool:
        """May it run at once, in the order of adding or next, and is it tied to nothing?"""
        return not (self.delay_ms or self.priority or self.deduplication or self.parent_key)

    def as_args(self) -> tuple[str | bytes | int, ...]:
        """As `lua/lib/options.lua` takes them."""
        how = (self.delay_ms, self.priority, "lifo" if self.lifo else "")
        return self.text, self.timestamp, *how, self.deduplication, self.parent_key, self.parent


class PreparedJob(msgspec.Struct, frozen=True):
    """A job that passed every check, in the form in which it is stored.

    Attributes:
        name: as it is.
        data: JSON text.
        options: its options.
    """

    name: str
    data: bytes
    options: StoredOptions


class OptionsInUse:
    """Turns options into their stored form, the same ones only once; threads may share it.

    Most producers give the same options to job after job: what was prepared last is kept, and
    found again by identity, which no change of a type can deceive (1 equals True, and is not it).
    Without this, checking options takes half of the time of a large `add_bulk`.
    """

    def __init__(self, defaults: JobDefaults) -> None:
        self._defaults = defaults
        given = (None,) * len(OPTIONS)
        self._last = (given, stored_options(given, defaults))
        self._last_named: tuple[AddOptions, StoredOptions] = ({}, self._last[1])

    def given(self, options: AddOptions) -> StoredOptions:
        """The options of a job by their names.

        Raises:
            InvalidOption: one is outside its range.
            TypeError: there is no such option.
        """
        last, stored = self._last_named
        if len(options) == len(last):
            for name, value in options.items():
                if last.get(name, _NOTHING) is not value:
                    break
            else:
                return stored
        stored = self.of(NewJob("job", **options))
        self._last_named = options, stored
        return stored

    def of(self, job: NewJob) -> StoredOptions:
        """The options of a job.

        Raises:
            InvalidOption: one is outside its range.
        """
        given, (last_given, stored) = given_options(job), self._last
        for value, last in zip(given, last_given, strict=True):
            if value is not last:
                stored = stored_options(given, self._defaults)
                self._last = given, stored
                break
        return stored


def prepare(job: NewJob, *, data: bytes | None = None) -> PreparedJob:
    """Check a job completely and put it into its stored form.

    Args:
        job: the job.
        data: JSON text to store instead of `job.data`, checked to be some.

    Raises:
        InvalidInput: one of its kinds, for the first fault; nothing was written.
    """
    options = stored_options(given_options(job), {})
    return prepared_job(job.name, job.data if data is None else JsonText(data), options)


def prepared_job(
    name: str, data: Any, options: StoredOptions, max_data_bytes: int = MAX_DATA_BYTES
) -> PreparedJob:
    """Check name and data of a job whose options are prepared.

    Raises:
        InvalidInput: one of its kinds, for the first fault; nothing was written.
    """
    limit_bytes = min(options.size_limit or max_data_bytes, max_data_bytes)
    return PreparedJob(_checked_name(name), data_text(data, limit_bytes), options)


def stored_options(given: tuple[Any, ...], defaults: JobDefaults) -> StoredOptions:
    """Check options completely and put them into their stored form.

    Args:
        given: as from `given_options`.
        defaults: for options that are not given.

    Raises:
        InvalidOption: one of its kinds, for the first fault.
    """
    options: dict[str, Any] = {**defaults}
    options |= {
        name: value for name, value in zip(OPTIONS, given, strict=True) if value is not None
    }
    opts = _stored(options)
    text = _json(opts)
    if len(text) > MAX_OPTS_BYTES:
        raise InvalidOption(
            f"the options of a job are {len(text)} bytes of JSON; expected at most {MAX_OPTS_BYTES}"
        )
    parent = options.get("parent")
    return StoredOptions(
        text,
        opts.get("jobId", ""),
        str(opts.get("timestamp", "")),
        opts.get("delay", 0),
        opts.get("priority", 0),
        opts.get("lifo", False),
        opts.get("sizeLimit", 0),
        _json(opts["de"]) if "de" in opts else b"",
        parent.key if parent else "",
        parent.as_field(opts) if parent else b"",
    )


_NOTHING = object()
"""Stands for an option that was not given, where None may have been."""

_json_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _json(value: object) -> bytes:
    return _json_text(value).encode()


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"job name is {name!r}; expected text, such as 'optimize-size'")
    try:
        size_bytes = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidInput(f"job name {name!r} holds a lone surrogate; expected text") from None
    if size_bytes > MAX_NAME_BYTES:
        raise InvalidInput(
            f"job name {name[:40]!r}... is {size_bytes} bytes; expected at most {MAX_NAME_BYTES}"
        )
    return name


def _stored(options: Mapping[str, Any]) -> dict[str, Any]:
    """The `opts` object: what was given, and `attempts` always, as Node has it."""
    opts: dict[str, Any] = {}
    for name, (stored_name, encode) in _STORED.items():
        value = options.get(name)
        if value is not None:
            opts[stored_name] = encode(name, value)
        elif name == "attempts":
            opts[stored_name] = 0
    if options.keys() & _TIES:
        flags = {name: options.get(name) for name in CHILD_FLAGS}
        opts |= stored_ties(options.get("deduplication"), options.get("parent"), flags)
    opts |= _telemetry(options.get("telemetry"))
    if opts.get("timestamp", 0) + opts.get("delay", 0) > MAX_TIME_MS:
        delay, timestamp = options.get("delay"), options.get("timestamp")
        raise InvalidOption(f"delay is {delay!r} after {timestamp!r}; due after 2039")
    return opts


def _within(least: int, most: int) -> Callable[[str, Any], int]:
    return lambda what, value: whole(what, value, least, most)


def _flag(what: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidOption(f"{what} is {value!r}; expected True or False")
    return value


def _backoff(what: str, value: Backoff | str | timedelta) -> Mapping[str, Any]:
    match value:
        case Backoff():
            return value.as_stored()
        case str() | timedelta():
            return Backoff.fixed(value).as_stored()
    raise InvalidOption(
        f'{what} is {value!r}; expected "1s", Backoff.fixed("1s"), '
        'Backoff.exponential("1s") or Backoff.named("strategy")'
    )


def _telemetry(value: Telemetry | str | None) -> Mapping[str, str | bool]:
    match value:
        case None:
            return {}
        case str():
            return Telemetry(value).as_stored()
        case Telemetry():
            return value.as_stored()
    raise InvalidOption(f"telemetry is {value!r}; expected text, or Telemetry('…')")


def _correlation_id(what: str, value: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= MAX_CHARS:
        with suppress(UnicodeEncodeError):
            value.encode()
            return value
    raise InvalidOption(f"{what} is {value!r:.300}; expected 1 to {MAX_CHARS} characters")


def _keep(what: str, value: KeepOption) -> object:
    match value:
        case bool():
            return value
        case KeepRule():
            return _checked_rule(what, value).as_stored()
        case int() if 0 <= value <= MAX_COUNT:
            return value
    raise InvalidOption(
        f"{what} is {value!r}; expected True (remove), False (keep all), "
        "how many of the newest to keep, or KeepRule(count=…, age_s=…)"
    )


def _checked_rule(what: str, rule: KeepRule) -> KeepRule:
    whole(f"{what}: count", rule.count, KEEP_ALL, MAX_COUNT)
    whole(f"{what}: limit", rule.limit, 1, MAX_COUNT)
    if rule.age_s is not None and not _is_age(rule.age_s):
        raise InvalidOption(f"{what}: age_s is {rule.age_s!r}; expected seconds, from 0")
    return rule


def _is_age(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value <= MAX_TIME_MS / 1000


_STORED: dict[str, tuple[str, Callable[[str, Any], object]]] = {
    "job_id": ("jobId", lambda _, value: check_job_id(value)),
    "delay": ("delay", lambda what, value: duration_ms(value, what)),
    "priority": ("priority", _within(0, MAX_PRIORITY)),
    "lifo": ("lifo", _flag),
    "attempts": ("attempts", _within(1, MAX_COUNT)),
    "backoff": ("backoff", _backoff),
    "remove_on_complete": ("removeOnComplete", _keep),
    "remove_on_fail": ("removeOnFail", _keep),
    "keep_logs": ("kl", _within(0, MAX_COUNT)),
    "stack_trace_limit": ("stackTraceLimit", _within(0, MAX_COUNT)),
    "size_limit": ("sizeLimit", _within(1, MAX_COUNT)),
    "timestamp": ("timestamp", epoch_ms),
    "correlation_id": (OPTION, _correlation_id),
}
"""Options that say something of the job alone: name as it is stored, and how its value is checked
and stored. The order is that of the stored object."""

_TIES = {"deduplication", "parent", *CHILD_FLAGS}
