"""What a supervisor tells of itself, as values; `log.py` is the one place that words them.

Code emits an event where it is handled, once; nothing here formats or writes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from toril import lifecycle


@dataclass(frozen=True, slots=True)
class LogLinesDropped:
    """The log's reader was slow; that many lines are missing here, output of jobs first."""

    count: int


@dataclass(frozen=True, slots=True)
class VariablesUnset:
    """The queue's `env` names variables that are not set here."""

    queue: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkerStarted:
    """A queue's children are ready and it is claimed from."""

    queue: str
    processor: str
    isolation: str
    concurrency: int
    redis: str


@dataclass(frozen=True, slots=True)
class LevelWeakened:
    """A queue is worked without mechanisms of its level, which its settings waive in writing."""

    queue: str
    isolation: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LimitDiffers:
    """The configured rate limit is not the one in Redis; Redis' applies."""

    queue: str
    configured: str
    in_force: str


@dataclass(frozen=True, slots=True)
class JobAdded:
    """A running job, `by_job_id`, added one."""

    queue: str
    job_id: str
    name: str
    by_job_id: str
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class JobActive:
    """An attempt began in a child."""

    queue: str
    job_id: str
    name: str
    attempt: int
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class JobSettled:
    """An attempt ended and Redis has it; `settled` is what followed, `reason` why it failed.

    `wait_ms` is None when it is not known; `error_name` is the exception's type, if one was raised.
    """

    queue: str
    job_id: str
    name: str
    attempt: int
    verdict: str
    settled: str
    wait_ms: int | None
    run_ms: int
    cpu_ms: int | None
    reason: str
    error_name: str = ""
    peak_memory_bytes: int | None = None
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class JobOutput:
    """A line that a job printed or logged; with no id, listeners or a processor's import did.

    `logger` and `severity` are those of a record of the standard library's `logging`.
    """

    queue: str
    job_id: str
    stream: str
    line: str
    correlation_id: str = ""
    logger: str = ""
    severity: str = "INFO"


@dataclass(frozen=True, slots=True)
class LockLost:
    """A job's lock is somebody else's now; its child is killed, its result refused."""

    queue: str
    job_id: str
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class SettlementRefused:
    """Redis did not take the end of an attempt; the job is not ours any more, or is broken."""

    queue: str
    job_id: str
    verdict: str
    reason: str
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class ReportRefused:
    """Progress, log lines or data of a running job that Redis did not take; the job goes on."""

    queue: str
    job_id: str
    reason: str
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class RedisFailed:
    """Something asked of Redis goes wrong again and again; said once for as long as it lasts.

    `what` is a claim, a renewal, waiting, setting the rate limit …
    """

    queue: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class UpkeepFailed:
    """Looking for stalled jobs goes wrong; said once for as long as it lasts."""

    queue: str
    reason: str


@dataclass(frozen=True, slots=True)
class GhostsRemoved:
    """Ids without a job were taken out of the queue."""

    queue: str
    count: int


@dataclass(frozen=True, slots=True)
class StalledRecovered:
    """Jobs whose worker vanished are back in the queue."""

    queue: str
    job_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChildGone:
    """A child ended that was not asked to."""

    queue: str
    pid: int
    how: str


@dataclass(frozen=True, slots=True)
class ClaimingPaused:
    """No child can be had, so nothing is claimed; it is tried again and again."""

    queue: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class ClaimingResumed:
    """Children can be had again."""

    queue: str


@dataclass(frozen=True, slots=True)
class ListenerFailed:
    """A listener raised, took too long or took its child with it; told now and then only.

    `failures` counts those of this listener since it was last told.
    """

    queue: str
    listener: str
    job_id: str
    reason: str
    failures: int
    stack: str = ""


@dataclass(frozen=True, slots=True)
class ListenerEventsDropped:
    """Listeners did not keep up, or had no child: that many events so far were not handed over."""

    queue: str
    dropped: int


@dataclass(frozen=True, slots=True)
class ListenersPaused:
    """No child can be had for the listeners; jobs go on, and it is tried again and again."""

    queue: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class ListenersResumed:
    """The listeners have a child again."""

    queue: str


@dataclass(frozen=True, slots=True)
class RedisLost:
    """Redis cannot be reached, or cannot take writes; running jobs go on."""

    queue: str
    reason: str


@dataclass(frozen=True, slots=True)
class RedisBack:
    """Redis answers again and every held lock was renewed or found lost."""

    queue: str
    away_ms: int
    held: int


@dataclass(frozen=True, slots=True)
class Draining:
    """Stopping: nothing more is claimed."""

    queue: str
    running: int
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class DrainDeadline:
    """The time to drain is over; running jobs are interrupted and go back to the queue."""

    queue: str
    running: int


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """Stopping without Redis: these attempts ended and nobody knows; their locks run out."""

    queue: str
    job_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkerStopped:
    """A queue is not worked by this supervisor any more."""

    queue: str
    settled: int


Event: TypeAlias = (
    LogLinesDropped
    | VariablesUnset
    | WorkerStarted
    | LevelWeakened
    | LimitDiffers
    | JobAdded
    | JobActive
    | JobSettled
    | JobOutput
    | LockLost
    | SettlementRefused
    | ReportRefused
    | RedisFailed
    | UpkeepFailed
    | GhostsRemoved
    | StalledRecovered
    | ChildGone
    | ClaimingPaused
    | ClaimingResumed
    | ListenerFailed
    | ListenerEventsDropped
    | ListenersPaused
    | ListenersResumed
    | RedisLost
    | RedisBack
    | Draining
    | DrainDeadline
    | lifecycle.Quiet
    | lifecycle.Resumed
    | lifecycle.Scaled
    | lifecycle.Reloading
    | lifecycle.Reloaded
    | lifecycle.ReloadFailed
    | lifecycle.StateDumped
    | lifecycle.StackDumped
    | Unrecorded
    | WorkerStopped
    | lifecycle.HealthListening
    | lifecycle.HealthExposed
    | lifecycle.RedisSlow
    | lifecycle.HeartbeatRefused
)

Emit: TypeAlias = Callable[[Event], None]
