"""What a supervisor tells of itself, as values; `log.py` is the one place that words them.

Code emits an event where it is handled, once; nothing here formats or writes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from toril import lifecycle


class LogLinesDropped(lifecycle.Told, frozen=True):
    """The log's reader was slow; that many lines are missing here, output of jobs first."""

    count: int


class VariablesUnset(lifecycle.Told, frozen=True):
    """The queue's `env` names variables that are not set here."""

    queue: str
    names: tuple[str, ...]


class WorkerStarted(lifecycle.Told, frozen=True):
    """A queue's children are ready and it is claimed from."""

    queue: str
    processor: str
    isolation: str
    concurrency: int
    redis: str


class LevelWeakened(lifecycle.Told, frozen=True):
    """A queue is worked without mechanisms of its level, which its settings waive in writing."""

    queue: str
    isolation: str
    missing: tuple[str, ...]


class LimitDiffers(lifecycle.Told, frozen=True):
    """The configured rate limit is not the one in Redis; Redis' applies."""

    queue: str
    configured: str
    in_force: str


class JobAdded(lifecycle.Told, frozen=True):
    """A running job, `by_job_id`, added one."""

    queue: str
    job_id: str
    name: str
    by_job_id: str
    correlation_id: str = ""


class JobActive(lifecycle.Told, frozen=True):
    """An attempt began in a child."""

    queue: str
    job_id: str
    name: str
    attempt: int
    correlation_id: str = ""


class JobSettled(lifecycle.Told, frozen=True):
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


class JobOutput(lifecycle.Told, frozen=True):
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


class LockLost(lifecycle.Told, frozen=True):
    """A job's lock is somebody else's now; its child is killed, its result refused."""

    queue: str
    job_id: str
    correlation_id: str = ""


class SettlementRefused(lifecycle.Told, frozen=True):
    """Redis did not take the end of an attempt; the job is not ours any more, or is broken."""

    queue: str
    job_id: str
    verdict: str
    reason: str
    correlation_id: str = ""


class ReportRefused(lifecycle.Told, frozen=True):
    """Progress, log lines or data of a running job that Redis did not take; the job goes on."""

    queue: str
    job_id: str
    reason: str
    correlation_id: str = ""


class RedisFailed(lifecycle.Told, frozen=True):
    """Something asked of Redis goes wrong again and again; said once for as long as it lasts.

    `what` is a claim, a renewal, waiting, setting the rate limit …
    """

    queue: str
    what: str
    reason: str


class UpkeepFailed(lifecycle.Told, frozen=True):
    """Looking for stalled jobs goes wrong; said once for as long as it lasts."""

    queue: str
    reason: str


class GhostsRemoved(lifecycle.Told, frozen=True):
    """Ids without a job were taken out of the queue."""

    queue: str
    count: int


class StalledRecovered(lifecycle.Told, frozen=True):
    """Jobs whose worker vanished are back in the queue."""

    queue: str
    job_ids: tuple[str, ...]


class ChildGone(lifecycle.Told, frozen=True):
    """A child ended that was not asked to."""

    queue: str
    pid: int
    how: str


class ClaimingPaused(lifecycle.Told, frozen=True):
    """No child can be had, so nothing is claimed; it is tried again and again."""

    queue: str
    reason: str
    remedy: str


class ClaimingResumed(lifecycle.Told, frozen=True):
    """Children can be had again."""

    queue: str


class ListenerFailed(lifecycle.Told, frozen=True):
    """A listener raised, took too long or took its child with it; told now and then only.

    `failures` counts those of this listener since it was last told.
    """

    queue: str
    listener: str
    job_id: str
    reason: str
    failures: int
    stack: str = ""


class ListenerEventsDropped(lifecycle.Told, frozen=True):
    """Listeners did not keep up, or had no child: that many events so far were not handed over."""

    queue: str
    dropped: int


class ListenersPaused(lifecycle.Told, frozen=True):
    """No child can be had for the listeners; jobs go on, and it is tried again and again."""

    queue: str
    reason: str
    remedy: str


class ListenersResumed(lifecycle.Told, frozen=True):
    """The listeners have a child again."""

    queue: str


class RedisLost(lifecycle.Told, frozen=True):
    """Redis cannot be reached, or cannot take writes; running jobs go on."""

    queue: str
    reason: str


class RedisBack(lifecycle.Told, frozen=True):
    """Redis answers again and every held lock was renewed or found lost."""

    queue: str
    away_ms: int
    held: int


class Draining(lifecycle.Told, frozen=True):
    """Stopping: nothing more is claimed."""

    queue: str
    running: int
    timeout_ms: int


class DrainDeadline(lifecycle.Told, frozen=True):
    """The time to drain is over; running jobs are interrupted and go back to the queue."""

    queue: str
    running: int


class Unrecorded(lifecycle.Told, frozen=True):
    """Stopping without Redis: these attempts ended and nobody knows; their locks run out."""

    queue: str
    job_ids: tuple[str, ...]


class WorkerStopped(lifecycle.Told, frozen=True):
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
