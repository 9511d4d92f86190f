"""What a job asks for: `Backoff`, and the stored options (`opts`) as a worker reads them.

Reading is lenient, because every language writes this JSON: unknown options are ignored, numbers
may come as strings or floats, and what Node tolerates is normalised, not refused. Checking the
options of a *new* job lives in `adding.py`. A change must keep: what Node stored, we can read.
Source: stored options as observed with bullmq 6.7 and 5.81.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from toril.correlation import OPTION, of_producer
from toril.errors import InvalidOption
from toril.units import MAX_DURATION_MS, duration_ms

if TYPE_CHECKING:
    from datetime import timedelta

KEEP_ALL = -1
"""`KeepRule.count` that removes nothing."""

BUILT_IN = frozenset({"fixed", "exponential"})
"""Kinds of back-off that every worker knows; given by BullMQ."""

DEFAULT_TRIM_LIMIT = 1000
"""Most jobs one age rule removes at a time, jobs; given by BullMQ."""

_MAX_COUNT = 2**31 - 1
"""Ceiling for stored counts; chosen: beyond every list, within every integer Lua can print."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a failed job waits before its next attempt.

    Attributes:
        kind: `fixed`, `exponential`, or the name of a strategy that workers bring.
        delay_ms: the wait before the first retry.
        jitter: share of the wait that is left to chance, 0 (none) to 1 (anything down to 0).
    """

    kind: str
    delay_ms: int
    jitter: float = 0.0

    @classmethod
    def fixed(cls, delay: str | timedelta, *, jitter: float = 0.0) -> Backoff:
        """The same wait before every retry.

        Raises:
            InvalidOption: not a duration, or a jitter outside 0 to 1.
        """
        return cls("fixed", duration_ms(delay, "backoff"), _checked_jitter(jitter))

    @classmethod
    def exponential(cls, delay: str | timedelta, *, jitter: float = 0.0) -> Backoff:
        """A wait that doubles with every retry.

        Raises:
            InvalidOption: not a duration, or a jitter outside 0 to 1.
        """
        return cls("exponential", duration_ms(delay, "backoff"), _checked_jitter(jitter))

    @classmethod
    def named(cls, name: str, delay: str | timedelta = "0s") -> Backoff:
        """The wait that a strategy of the worker finds, `toril run --backoff` or BullMQ's own.

        Args:
            name: the strategy's.
            delay: the wait where it cannot be asked: a crash has its own, but a timeout, or a
                worker of toril that does not know it, waits so long.

        Raises:
            InvalidOption: no duration, or no name of a strategy.
        """
        if not isinstance(name, str) or not name or name in BUILT_IN:
            raise InvalidOption(
                f"backoff: name is {name!r}; expected the name of a strategy of your workers"
            )
        return cls(name, duration_ms(delay, "backoff"))

    def as_stored(self) -> dict[str, str | int | float]:
        """The object that goes into `opts.backoff`."""
        stored: dict[str, str | int | float] = {"type": self.kind, "delay": self.delay_ms}
        return stored | {"jitter": self.jitter} if self.jitter else stored


@dataclass(frozen=True, slots=True)
class KeepRule:
    """How many finished jobs stay in Redis, and for how long.

    Attributes:
        count: the newest so many stay; 0 drops the job at once, `KEEP_ALL` keeps all.
        age_s: jobs older than this go; None keeps any age.
        limit: most jobs that the age rule removes per finished job.
    """

    count: int = KEEP_ALL
    age_s: float | None = None
    limit: int = DEFAULT_TRIM_LIMIT

    def as_stored(self) -> dict[str, int | float]:
        """The object that goes into `opts.removeOnComplete` or `opts.removeOnFail`."""
        stored: dict[str, int | float] = {} if self.count == KEEP_ALL else {"count": self.count}
        if self.age_s is None:
            return stored
        return stored | {"age": self.age_s, "limit": self.limit}


@dataclass(frozen=True, slots=True)
class JobOpts:
    """The options that a worker acts on, normalised.

    Attributes:
        attempts: total tries; 0 and 1 both mean one.
        backoff: None retries at once.
        remove_on_complete: None leaves it to the worker's own rule; likewise `remove_on_fail`.
        lifo: an immediate retry goes to the front.
        keep_logs: log lines that stay; None keeps all, and so does 0 as BullMQ reads it.
        stack_trace_limit: stack traces that stay on the job; None keeps all.
        correlation_id: what its producer gave or its trace says; empty for none.
    """

    attempts: int = 0
    backoff: Backoff | None = None
    remove_on_complete: KeepRule | None = None
    remove_on_fail: KeepRule | None = None
    lifo: bool = False
    keep_logs: int | None = None
    stack_trace_limit: int | None = None
    correlation_id: str = ""


class _StoredBackoff(msgspec.Struct, frozen=True):
    type: str = "fixed"
    delay: float | None = None
    jitter: float | None = None


class _StoredKeep(msgspec.Struct, frozen=True):
    count: float | None = None
    age: float | None = None
    limit: float | None = None


class _StoredOpts(msgspec.Struct, frozen=True, rename="camel"):
    attempts: float | None = None
    backoff: float | _StoredBackoff | None = None
    remove_on_complete: bool | float | _StoredKeep | None = None
    remove_on_fail: bool | float | _StoredKeep | None = None
    lifo: Any = None
    keep_logs: float | None = msgspec.field(default=None, name="kl")
    stack_trace_limit: float | None = None
    correlation_id: Any = msgspec.field(default=None, name=OPTION)
    telemetry: Any = msgspec.field(default=None, name="tm")
    omits_context: Any = msgspec.field(default=None, name="omc")


_decoder = msgspec.json.Decoder(_StoredOpts, strict=False)


def parse_opts(raw: bytes) -> JobOpts:
    """The options stored on a job; an absent field (empty text) gives the defaults, as in Node.

    Raises:
        ValueError: not a JSON object, or an option of a type that means nothing; says which.
    """
    if not raw:
        return JobOpts()
    try:
        stored = _decoder.decode(raw)
    except RecursionError:
        raise ValueError("options are nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"options are not readable: {error}") from None
    if _holds_nan(stored):
        raise ValueError("options are not readable: one of them is NaN; expected a number")
    return JobOpts(
        attempts=_count(stored.attempts, 0),
        backoff=_backoff(stored.backoff),
        remove_on_complete=_keep_rule(stored.remove_on_complete),
        remove_on_fail=_keep_rule(stored.remove_on_fail),
        lifo=bool(stored.lifo),
        keep_logs=_optional_count(stored.keep_logs) or None,
        stack_trace_limit=_optional_count(stored.stack_trace_limit),
        correlation_id=of_producer(stored.correlation_id, stored.telemetry, stored.omits_context),
    )


def _holds_nan(stored: msgspec.Struct) -> bool:
    """Text such as `"nan"` passes for a number, and answers no comparison."""
    return any(
        _holds_nan(value) if isinstance(value, msgspec.Struct) else value != value  # noqa: PLR0124
        for value in msgspec.structs.astuple(stored)
    )


def _checked_jitter(jitter: float) -> float:
    if isinstance(jitter, bool) or not isinstance(jitter, int | float) or not 0 <= jitter <= 1:
        raise InvalidOption(f"jitter is {jitter!r}; expected a number from 0 to 1, such as 0.5")
    return jitter


def _backoff(stored: float | _StoredBackoff | None) -> Backoff | None:
    match stored:
        case None:
            return None
        case _StoredBackoff(type=kind, delay=delay, jitter=jitter):
            return Backoff(kind, _delay_ms(delay or 0), min(max(jitter or 0.0, 0.0), 1.0))
        case number:
            return Backoff("fixed", _delay_ms(number))


def _delay_ms(value: float) -> int:
    return round(min(max(value, 0), MAX_DURATION_MS))


def _keep_rule(stored: bool | float | _StoredKeep | None) -> KeepRule | None:  # noqa: FBT001 - a stored value, not a switch
    match stored:
        case None:
            return None
        case bool():
            return KeepRule(count=0 if stored else KEEP_ALL)
        case _StoredKeep(count=count, age=age, limit=limit):
            return KeepRule(
                _count(count, KEEP_ALL),
                None if age is None else max(age, 0.0),
                max(_count(limit, DEFAULT_TRIM_LIMIT), 1),
            )
        case number:
            return KeepRule(count=_count(number, KEEP_ALL))


def _count(value: float | None, default: int) -> int:
    """A stored count as an integer: 2.5 attempts are 3, as `made < attempts` has it in Node."""
    return default if value is None else math.ceil(min(max(value, -1), _MAX_COUNT))


def _optional_count(value: float | None) -> int | None:
    return None if value is None else max(_count(value, 0), 0)
