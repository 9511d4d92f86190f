"""`NewJob`: what a caller may ask for when adding a job. `preparing.py` checks it."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from toril.runtime.options import Backoff, KeepRule
    from toril.runtime.ties import Deduplication, Parent
    from toril.telemetry import Telemetry

    KeepOption = bool | int | KeepRule

MAX_PRIORITY = 2**21 - 1
"""Highest priority number; given by BullMQ: the score beside it stays an exact double."""


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


OPTIONS = tuple(one.name for one in fields(NewJob) if one.name not in {"name", "data"})
"""Names of the options of a job."""

given_options: Callable[[NewJob], tuple[Any, ...]] = attrgetter(*OPTIONS)
"""The values of all options, in the order of `OPTIONS`; None where the job says nothing."""
