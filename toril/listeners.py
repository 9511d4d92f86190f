"""What a worker tells its listeners: one small value per event, for type hints and `match`.

Listeners are functions of yours, named with `toril run --listeners module:attribute` and run in a
child process of their own. Both sides know these values by their names and fields; a change must
keep: every field is of a JSON type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_VALUE_BYTES = 64 * 1024
"""Largest result that is handed over, bytes of JSON; given: a progress value is no larger."""


@dataclass(frozen=True, slots=True)
class Active:
    """An attempt began in a child.

    Attributes:
        queue: the queue's name.
        job_id: the job.
        name: the job's name.
        attempt: how often it was started, this time included.
        at_ms: when this was noticed, epoch ms by the worker's clock.
    """

    queue: str
    job_id: str
    name: str
    attempt: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Progress:
    """A running job reported progress; a job that reports often is heard about ten times a second.

    Attributes:
        queue, job_id, name, attempt, at_ms: as in `Active`.
        progress: what it reported.
    """

    queue: str
    job_id: str
    name: str
    attempt: int
    at_ms: int
    progress: Any


@dataclass(frozen=True, slots=True)
class Completed:
    """A job is completed, and Redis has it.

    Attributes:
        queue, job_id, name, attempt, at_ms: as in `Active`.
        returnvalue: what the processor returned; None when `is_left_out`.
        is_left_out: its JSON text is over 64 KiB: read it from the queue.
        run_ms: how long the attempt ran.
    """

    queue: str
    job_id: str
    name: str
    attempt: int
    at_ms: int
    returnvalue: Any
    is_left_out: bool
    run_ms: int


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt failed, and Redis has it; the job has failed for good unless it is retried.

    Attributes:
        queue, job_id, name, attempt, at_ms: as in `Active`.
        reason: the job's `failedReason`.
        verdict: why the attempt ended: `raised`, `timed-out`, `over-memory`, `crashed` …
        error_name: the exception's class name; empty when none was raised.
        is_retried: it runs again.
        delay_ms: after this time; 0 for at once.
        run_ms: how long the attempt ran.
    """

    queue: str
    job_id: str
    name: str
    attempt: int
    at_ms: int
    reason: str
    verdict: str
    error_name: str
    is_retried: bool
    delay_ms: int
    run_ms: int


@dataclass(frozen=True, slots=True)
class TimedOut:
    """An attempt's time was up; `failed` tells of the same attempt.

    Attributes:
        queue, job_id, name, attempt, at_ms: as in `Active`.
        reason: the job's `failedReason`.
        is_retried: it runs again.
        run_ms: how long the attempt ran.
    """

    queue: str
    job_id: str
    name: str
    attempt: int
    at_ms: int
    reason: str
    is_retried: bool
    run_ms: int


@dataclass(frozen=True, slots=True)
class Stalled:
    """A job whose worker vanished, ours or another, is back in the queue.

    Attributes:
        queue, job_id, at_ms: as in `Active`.
    """

    queue: str
    job_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class WorkerError:
    """Something went wrong in the worker itself, not in a job.

    Attributes:
        queue, at_ms: as in `Active`.
        what: the log's name for it: `redis-lost`, `claiming-paused`, `lock-lost` …
        reason: in words.
        job_id: the job that it concerns; empty without one.
    """

    queue: str
    at_ms: int
    what: str
    reason: str
    job_id: str


WorkerEvent: TypeAlias = Active | Progress | Completed | Failed | TimedOut | Stalled | WorkerError

EVENTS: Mapping[str, type[WorkerEvent]] = {
    "active": Active,
    "progress": Progress,
    "completed": Completed,
    "failed": Failed,
    "timeout": TimedOut,
    "stalled": Stalled,
    "error": WorkerError,
}
"""Name of an event, which is the key in a mapping of listeners → what its listener receives."""
