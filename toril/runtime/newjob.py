"""`NewJob`: what a caller may ask for when adding a job, its checks, and its stored form; pure.

Everything is checked here, before anything is sent. A change must keep: what is stored is what
Node's `queue.add` would have stored for the same options.
Source: observed with bullmq 6.7.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from toril.call import MAX_DATA_BYTES, MAX_NAME_BYTES, MAX_OPTS_BYTES
from toril.correlation import MAX_CHARS, OPTION
from toril.errors import InvalidInput, InvalidOption
from toril.runtime.jobdata import JsonText, data_text
from toril.runtime.keys import check_job_id
from toril.runtime.numbers import MAX_COUNT, MAX_TIME_MS, epoch_ms, whole
from toril.runtime.options import KEEP_ALL, Backoff, KeepRule
from toril.runtime.ties import CHILD_FLAGS, stored_ties
from toril.telemetry import Telemetry
from toril.units import duration_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from toril.runtime.ties import Deduplication, Parent

MAX_PRIORITY = 2**21 - 1
"""Highest priority number; given by BullMQ: the score beside it stays an exact double."""

KeepOption = bool | int | KeepRule


class JobDefaults(TypedDict, total=False):
    """Options that a queue can give to every job; meanings as in `NewJob`."""

    delay: str | timedelta | None
    priority: int | None
    lifo: bool | None
    attempts: int | None
    backoff: Backoff | str | timedelta | None
    remove_on_complete: KeepOption | None
    remove_on_fail: KeepOption | None
    keep_logs: int | None
    stack_trace_limit: int | None
    size_limit: int | None


class AddOptions(JobDefaults, total=False):
    """Options of one job; meanings as in `NewJob`."""

    job_id: str | None
    timestamp: int | datetime | None
    deduplication: Deduplication | None
    parent: Parent | None
    fail_parent_on_failure: bool | None
    continue_parent_on_failure: bool | None
    ignore_dependency_on_failure: bool | None
    remove_dependency_on_failure: bool | None
    telemetry: Telemetry | str | None
    correlation_id: str | None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be added; None leaves an option to the queue's defaults, then to BullMQ's.

    Attributes:
        name: what to do; a processor may choose its function by it.
        data: anything JSON can say; None is stored as `{}`.
        job_id: an id of your own: a second job with it is not added while the first is there.
        delay: not before this has passed, `"10s"` or a timedelta.
        priority: 1 (first) to 2097151; 0 is none, and jobs without run before all others.
        lifo: run next instead of last; has no effect on delayed and prioritized jobs.
        attempts: total tries.
        backoff: wait before a retry; a bare `"1s"` is a fixed one.
        remove_on_complete: True drops the job when it has completed, a number keeps the newest so
            many, False keeps all; likewise `remove_on_fail`.
        keep_logs: log lines that stay, the newest so many.
        stack_trace_limit: stack traces that stay, those of the newest attempts; 0 keeps none.
        size_limit: bytes of the data's JSON text beyond which the job is refused.
        timestamp: creation time, epoch milliseconds or a datetime with a time zone, from which a
            delay counts; the server's clock otherwise.
        deduplication: not added while another job with its id is there.
        parent: a job that waits for this one, and gets its return value.
        fail_parent_on_failure: when this job fails for good, so does its parent. Without any of
            these four the parent waits on, until this job is retried or removed.
        continue_parent_on_failure: the parent runs at once, whatever other children it waits for.
        ignore_dependency_on_failure: the parent waits for it no more, and can read why it failed.
        remove_dependency_on_failure: the parent waits for it no more.
        telemetry: the trace that it belongs to; a bare text is the metadata.
        correlation_id: what this job and all that it sets off have in common in the logs, 1 to 200
            characters; without one it is the trace's id, or made of queue and job id.
    """

    name: str
    data: Any = None
    _: KW_ONLY
    job_id: str | None = None
    delay: str | timedelta | None = None
    priority: int | None = None
    lifo: bool | None = None
    attempts: int | None = None
    backoff: Backoff | str | timedelta | None = None
    remove_on_complete: KeepOption | None = None
    remove_on_fail: KeepOption | None = None
    keep_logs: int | None = None
    stack_trace_limit: int | None = None
    size_limit: int | None = None
    timestamp: int | datetime | None = None
    deduplication: Deduplication | None = None
    parent: Parent | None = None
    fail_parent_on_failure: bool | None = None
    continue_parent_on_failure: bool | None = None
    ignore_dependency_on_failure: bool | None = None
    remove_dependency_on_failure: bool | None = None
    telemetry: Telemetry | str | None = None
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class PreparedJob:
    """A job that passed every check, in the form in which it is stored.

    Attributes:
        custom_id: empty for an automatic one.
        name: as it is.
        data: JSON text.
        opts: JSON text of the options, BullMQ's names.
        timestamp: epoch milliseconds; empty for the server's clock.
        delay_ms: 0 for none.
        priority: 0 for none.
        lifo: run next.
        deduplication: JSON text; empty without.
        parent_key: full key of the parent; empty without.
        parent: JSON text of the field `parent`; empty without.
    """

    custom_id: str
    name: str
    data: bytes
    opts: bytes
    timestamp: str
    delay_ms: int
    priority: int
    lifo: bool
    deduplication: bytes = b""
    parent_key: str = ""
    parent: bytes = b""

    def as_args(self) -> tuple[str | bytes | int, ...]:
        """The job as `add.lua` takes it."""
        lifo = "lifo" if self.lifo else ""
        prepared = (self.custom_id, self.name, self.data, self.opts, self.timestamp)
        ties = (self.deduplication, self.parent_key, self.parent)
        return (*prepared, self.delay_ms, self.priority, lifo, *ties)


def with_defaults(job: NewJob, defaults: JobDefaults) -> NewJob:
    """The job with the queue's defaults where it says nothing itself."""
    missing = {name: value for name, value in defaults.items() if getattr(job, name) is None}
    return replace(job, **missing) if missing else job  # type: ignore[arg-type]


def prepare(
    job: NewJob, *, max_data_bytes: int = MAX_DATA_BYTES, data: bytes | None = None
) -> PreparedJob:
    """Check a job completely and put it into its stored form.

    Args:
        job: the job.
        max_data_bytes: refuse larger data.
        data: JSON text to store instead of `job.data`, checked to be some.

    Raises:
        InvalidInput: one of its kinds, for the first fault; nothing was written.
    """
    name = _checked_name(job.name)
    opts = _stored_options(job)
    opts_text = _json(opts)
    if len(opts_text) > MAX_OPTS_BYTES:
        raise InvalidOption(
            f"the options of job {name[:100]!r} are {len(opts_text)} bytes of JSON; "
            f"expected at most {MAX_OPTS_BYTES}"
        )
    return PreparedJob(
        custom_id=opts.get("jobId", ""),
        name=name,
        data=data_text(
            job.data if data is None else JsonText(data),
            max_data_bytes if job.size_limit is None else min(job.size_limit, max_data_bytes),
        ),
        opts=opts_text,
        timestamp=str(opts.get("timestamp", "")),
        delay_ms=opts.get("delay", 0),
        priority=opts.get("priority", 0),
        lifo=opts.get("lifo", False),
        deduplication=_json(opts["de"]) if "de" in opts else b"",
        parent_key="" if job.parent is None else job.parent.key,
        parent=b"" if job.parent is None else job.parent.as_field(opts),
    )


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


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


def _stored_options(job: NewJob) -> dict[str, Any]:
    """The `opts` object: what was given, and `attempts` always, as Node has it."""
    given: dict[str, Any] = {
        "jobId": None if job.job_id is None else check_job_id(job.job_id),
        "delay": None if job.delay is None else duration_ms(job.delay, "delay"),
        "priority": _optional_integer("priority", job.priority, 0, MAX_PRIORITY),
        "lifo": _optional_flag("lifo", job.lifo),
        "attempts": _optional_integer("attempts", job.attempts, 1, MAX_COUNT) or 0,
        "backoff": _backoff(job.backoff),
        "removeOnComplete": _keep("remove_on_complete", job.remove_on_complete),
        "removeOnFail": _keep("remove_on_fail", job.remove_on_fail),
        "kl": _optional_integer("keep_logs", job.keep_logs, 0, MAX_COUNT),
        "stackTraceLimit": _optional_integer(
            "stack_trace_limit", job.stack_trace_limit, 0, MAX_COUNT
        ),
        "sizeLimit": _optional_integer("size_limit", job.size_limit, 1, MAX_COUNT),
        "timestamp": None if job.timestamp is None else epoch_ms("timestamp", job.timestamp),
        OPTION: _correlation_id(job.correlation_id),
    }
    opts = {name: value for name, value in given.items() if value is not None}
    flags = {name: getattr(job, name) for name in CHILD_FLAGS}
    opts |= stored_ties(job.deduplication, job.parent, flags)
    opts |= _telemetry(job.telemetry)
    if opts.get("timestamp", 0) + opts.get("delay", 0) > MAX_TIME_MS:
        raise InvalidOption(f"delay is {job.delay!r} after {job.timestamp!r}; due after 2039")
    return opts


def _optional_integer(what: str, value: object, least: int, most: int) -> int | None:
    return None if value is None else whole(what, value, least, most)


def _optional_flag(what: str, value: object) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise InvalidOption(f"{what} is {value!r}; expected True or False")
    return value


def _backoff(value: Backoff | str | timedelta | None) -> Mapping[str, Any] | None:
    match value:
        case None:
            return None
        case Backoff():
            return value.as_stored()
        case str() | timedelta():
            return Backoff.fixed(value).as_stored()
    raise InvalidOption(
        f'backoff is {value!r}; expected "1s", Backoff.fixed("1s"), '
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


def _correlation_id(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and 0 < len(value) <= MAX_CHARS:
        with suppress(UnicodeEncodeError):
            value.encode()
            return value
    raise InvalidOption(f"correlation_id is {value!r:.300}; expected 1 to {MAX_CHARS} characters")


def _keep(what: str, value: KeepOption | None) -> object:
    match value:
        case None | bool():
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
