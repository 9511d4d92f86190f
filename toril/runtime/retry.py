"""What follows an attempt: a pure decision from one table, and the arithmetic of back-off.

`ROWS` says for every verdict which counter it costs and what becomes of the job; a test walks all
of them. A change must keep: attempts, crashes, stalls and interruptions are never mixed.
Source: BullMQ's back-off formulas (docs.bullmq.io, "Retrying failing jobs").
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never

from toril.call import Outcome, Verdict
from toril.runtime.options import BUILT_IN, KeepRule
from toril.units import MAX_DURATION_MS, format_ms

if TYPE_CHECKING:
    from toril.runtime.claim import Claim
    from toril.runtime.options import Backoff

CRASH_DELAY_MS = 1_000
"""Wait after the second crash, doubled with every further one; chosen: a crash that the machine
causes (memory, disk) needs a moment to pass. The first has none: mostly it is not the job's doing
(an OOM killer, somebody's kill -9), and where it is, the limit on crashes is near."""

STARTED_TOO_OFTEN = "job started more than allowable limit"
"""Why a job fails at its start beyond `Policy.max_started_attempts`; given by BullMQ."""

KEEP_EVERYTHING = KeepRule()
"""What becomes of finished jobs where nobody said anything; given by BullMQ."""


LOST_AT_ONCE = 2
"""Interruptions after which a job that loses its zygote waits before it runs again; chosen: a job
that kills its zygote, by memory or on purpose, must not keep the front of the queue for itself."""


class Counts(enum.Enum):
    """The counter that an attempt's end goes on."""

    ATTEMPT = "attempt"
    CRASH = "crash"
    INTERRUPTION = "interruption"
    NOTHING = ""


class Follows(enum.Enum):
    """What becomes of the job."""

    COMPLETE = enum.auto()
    RETRY = enum.auto()
    FAIL = enum.auto()
    GIVE_BACK = enum.auto()
    DELAY = enum.auto()
    HOLD = enum.auto()
    WAIT_FOR_CHILDREN = enum.auto()
    ABANDON = enum.auto()


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: what a verdict costs, and what follows."""

    counts: Counts
    follows: Follows


ROWS: dict[Verdict, Row] = {
    Verdict.RETURNED: Row(Counts.ATTEMPT, Follows.COMPLETE),
    Verdict.RAISED: Row(Counts.ATTEMPT, Follows.RETRY),
    Verdict.RESULT_INVALID: Row(Counts.ATTEMPT, Follows.RETRY),
    Verdict.RESULT_TOO_LARGE: Row(Counts.ATTEMPT, Follows.RETRY),
    Verdict.PROCESSOR_EXIT: Row(Counts.ATTEMPT, Follows.RETRY),
    Verdict.MEMORY_ERROR: Row(Counts.ATTEMPT, Follows.RETRY),
    Verdict.TIMED_OUT: Row(Counts.ATTEMPT, Follows.RETRY),
    Verdict.OVER_MEMORY: Row(Counts.ATTEMPT, Follows.RETRY),
    Verdict.OVER_DISK: Row(Counts.ATTEMPT, Follows.RETRY),
    Verdict.OVER_THREADS: Row(Counts.ATTEMPT, Follows.RETRY),
    Verdict.CPU_LIMIT: Row(Counts.ATTEMPT, Follows.RETRY),
    Verdict.UNRECOVERABLE: Row(Counts.ATTEMPT, Follows.FAIL),
    Verdict.UNREADABLE: Row(Counts.ATTEMPT, Follows.FAIL),
    Verdict.DEFERRED_FAILURE: Row(Counts.ATTEMPT, Follows.FAIL),
    Verdict.CANCELLED: Row(Counts.ATTEMPT, Follows.FAIL),
    Verdict.DELAYED: Row(Counts.NOTHING, Follows.DELAY),
    Verdict.RATE_LIMITED: Row(Counts.NOTHING, Follows.HOLD),
    Verdict.WAITING_CHILDREN: Row(Counts.NOTHING, Follows.WAIT_FOR_CHILDREN),
    Verdict.CRASHED: Row(Counts.CRASH, Follows.RETRY),
    Verdict.EXITED: Row(Counts.CRASH, Follows.RETRY),
    Verdict.BROKE_PROTOCOL: Row(Counts.CRASH, Follows.RETRY),
    Verdict.DISCONNECTED: Row(Counts.CRASH, Follows.RETRY),
    Verdict.INTERRUPTED: Row(Counts.INTERRUPTION, Follows.GIVE_BACK),
    Verdict.LOST: Row(Counts.INTERRUPTION, Follows.GIVE_BACK),
    Verdict.UNAVAILABLE: Row(Counts.NOTHING, Follows.GIVE_BACK),
    Verdict.IMPORT_FAILED: Row(Counts.NOTHING, Follows.GIVE_BACK),
    Verdict.LOCK_LOST: Row(Counts.NOTHING, Follows.ABANDON),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """What a worker brings where the job's own options say nothing.

    Attributes:
        max_crashes: the job fails at its crash of this number.
        on_crash: `fail` fails it at the first.
        max_started_attempts: a job fails at its start beyond this one, whatever ended the others
            (a stall, a stopped worker, a wait of its own); None for no bound.
        keep_completed: which completed jobs stay; likewise `keep_failed`.
        metrics_size: minutes of BullMQ's metrics that are kept; 0 counts nothing.
    """

    max_crashes: int = 3
    on_crash: Literal["retry", "fail"] = "retry"
    max_started_attempts: int | None = None
    keep_completed: KeepRule = KEEP_EVERYTHING
    keep_failed: KeepRule = KEEP_EVERYTHING
    metrics_size: int = 0


@dataclass(frozen=True, slots=True)
class Complete:
    """The job is completed with the outcome's value."""

    keep: KeepRule = KEEP_EVERYTHING
    metrics_size: int = 0


@dataclass(frozen=True, slots=True)
class Retry:
    """The job is tried again: at once when `delay_ms` is 0."""

    reason: str
    delay_ms: int
    counts_as: Counts = Counts.ATTEMPT


@dataclass(frozen=True, slots=True)
class Fail:
    """The job has failed for good."""

    reason: str
    counts_as: Counts = Counts.ATTEMPT
    keep: KeepRule = KEEP_EVERYTHING
    metrics_size: int = 0


@dataclass(frozen=True, slots=True)
class GiveBack:
    """The job goes back to the front of the queue and costs no attempt."""

    counts_as: Counts = Counts.INTERRUPTION


@dataclass(frozen=True, slots=True)
class Delay:
    """The job asked to be run again after a time; it costs no attempt."""

    delay_ms: int


@dataclass(frozen=True, slots=True)
class Hold:
    """The job goes back to the front of a queue that nobody claims from for a time."""

    delay_ms: int


@dataclass(frozen=True, slots=True)
class WaitForChildren:
    """The job asked to be run again when its children have ended; it costs no attempt."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """Nothing is written: the job is not ours any more."""


Settlement = Complete | Retry | Fail | GiveBack | Delay | Hold | WaitForChildren | Abandon


def unrun(claim: Claim, policy: Policy) -> Outcome | None:
    """How an attempt ends that must not run at all; None when it may run."""
    if claim.unreadable is not None:
        return Outcome(Verdict.UNREADABLE, message=claim.unreadable)
    if claim.deferred_failure is not None:
        return Outcome(Verdict.DEFERRED_FAILURE, message=claim.deferred_failure)
    if claim.is_cancelled:
        return Outcome(Verdict.CANCELLED, message="cancelled", detail={"stage": "waiting"})
    if _is_started_out(policy, claim.attempts_started - 1):
        return Outcome(Verdict.DEFERRED_FAILURE, message=STARTED_TOO_OFTEN)
    return None


def decide(claim: Claim, outcome: Outcome, policy: Policy, jitter: float) -> Settlement:  # noqa: C901, PLR0911 - one for each row
    """What to do to a job after an attempt.

    Args:
        claim: the job as it was claimed.
        outcome: how the attempt ended.
        policy: the worker's settings.
        jitter: a random number from 0 up to, not including, 1.
    """
    row = ROWS[outcome.verdict]
    match row.follows:
        case Follows.COMPLETE:
            keep = claim.opts.remove_on_complete or policy.keep_completed
            return Complete(keep, policy.metrics_size)
        case Follows.RETRY if row.counts is Counts.CRASH:
            return _after_crash(claim, outcome, policy)
        case Follows.RETRY if _has_attempts_left(claim, policy):
            return _after_failure(claim, outcome, policy, jitter)
        case Follows.RETRY | Follows.FAIL:
            return _fail(claim, failure_reason(claim, outcome), row.counts, policy)
        case Follows.GIVE_BACK if _has_lost_too_often(claim, outcome):
            delay_ms = _doubled(CRASH_DELAY_MS, claim.interruptions - LOST_AT_ONCE)
            return Retry(failure_reason(claim, outcome), delay_ms, row.counts)
        case Follows.GIVE_BACK:
            return GiveBack(row.counts)
        case Follows.DELAY:
            return Delay(_asked_ms(outcome))
        case Follows.HOLD:
            return Hold(_asked_ms(outcome))
        case Follows.WAIT_FOR_CHILDREN:
            return WaitForChildren()
        case Follows.ABANDON:
            return Abandon()
        case _:
            assert_never(row.follows)


def words(settlement: Settlement) -> str:  # noqa: PLR0911 - one for each kind
    """A settlement in a log's words: what becomes of the job."""
    match settlement:
        case Complete():
            return "completed"
        case Retry(delay_ms=0):
            return "retried at once"
        case Retry(delay_ms=delay_ms):
            return f"retried in {format_ms(delay_ms)}"
        case Fail():
            return "failed"
        case GiveBack():
            return "given back"
        case Delay(delay_ms=delay_ms):
            return f"delayed by {format_ms(delay_ms)}"
        case Hold(delay_ms=delay_ms):
            return f"given back, queue held for {format_ms(delay_ms)}"
        case WaitForChildren():
            return "waits for its children"
        case Abandon():
            return "abandoned"
        case _:
            assert_never(settlement)


def failure_reason(claim: Claim, outcome: Outcome) -> str:
    """The line for `failedReason`; never empty."""
    match outcome.verdict:
        case Verdict.DEFERRED_FAILURE if claim.deferred_failure:
            return claim.deferred_failure
        case Verdict.UNREADABLE if claim.unreadable:
            return claim.unreadable
    return outcome.message or outcome.error_name or outcome.verdict.value


def backoff_ms(backoff: Backoff | None, failed: int, jitter: float) -> int:
    """Milliseconds until the next attempt; 0 for at once.

    A strategy's name waits its `delay`, as `fixed` does, wherever the strategy gave no answer: the
    job is never stuck for want of a formula.

    Args:
        backoff: the job's option.
        failed: number of the attempt that just failed, from 1.
        jitter: a random number from 0 up to, not including, 1.
    """
    if backoff is None:
        return 0
    doublings = failed - 1 if backoff.kind == "exponential" else 0
    whole_ms = _doubled(backoff.delay_ms, doublings)
    share = backoff.jitter
    return math.floor(jitter * whole_ms * share + whole_ms * (1 - share)) if share else whole_ms


def _after_failure(claim: Claim, outcome: Outcome, policy: Policy, jitter: float) -> Settlement:
    reason, backoff = failure_reason(claim, outcome), claim.opts.backoff
    delay_ms = _advised_ms(backoff, outcome)
    if delay_ms is None:
        delay_ms = backoff_ms(backoff, claim.attempts_made + 1, jitter)
    if delay_ms < 0:
        return _fail(claim, reason, Counts.ATTEMPT, policy)
    return Retry(reason, delay_ms)


def _advised_ms(backoff: Backoff | None, outcome: Outcome) -> int | None:
    """What a strategy said, negative for no retry; None where there is none, or it said nothing."""
    advised = outcome.detail.get("backoff_ms")
    if backoff is None or backoff.kind in BUILT_IN or not isinstance(advised, int):
        return None
    return min(advised, MAX_DURATION_MS)


def _after_crash(claim: Claim, outcome: Outcome, policy: Policy) -> Settlement:
    crashes = claim.crashes + 1
    reason = failure_reason(claim, outcome)
    if policy.on_crash == "fail":
        return _fail(claim, reason, Counts.CRASH, policy)
    if crashes >= policy.max_crashes:
        times = "once" if crashes == 1 else f"{crashes} times"
        return _fail(claim, f"crashed {times} ({reason})", Counts.CRASH, policy)
    if _is_started_out(policy, claim.attempts_started):
        return _fail(claim, reason, Counts.CRASH, policy)
    return Retry(reason, _crash_delay_ms(crashes), Counts.CRASH)


def _crash_delay_ms(crashes: int) -> int:
    return _doubled(CRASH_DELAY_MS, crashes - 2) if crashes > 1 else 0


def _fail(claim: Claim, reason: str, counts: Counts, policy: Policy) -> Fail:
    keep = claim.opts.remove_on_fail or policy.keep_failed
    return Fail(reason, counts, keep, policy.metrics_size)


def _has_attempts_left(claim: Claim, policy: Policy) -> bool:
    if _is_started_out(policy, claim.attempts_started):
        return False
    return claim.attempts_made + 1 < claim.opts.attempts


def _is_started_out(policy: Policy, started: int) -> bool:
    """Has the job used all the starts that the worker allows, after so many?"""
    most = policy.max_started_attempts
    return most is not None and started >= most


def _has_lost_too_often(claim: Claim, outcome: Outcome) -> bool:
    return outcome.verdict is Verdict.LOST and claim.interruptions >= LOST_AT_ONCE


def _asked_ms(outcome: Outcome) -> int:
    """The time a processor asked for; a supervisor that tells none means at once."""
    asked = outcome.detail.get("delay_ms", 0)
    asked_ms = asked if isinstance(asked, int | float) else 0
    return min(max(round(asked_ms), 0), MAX_DURATION_MS)


def _doubled(delay_ms: int, times: int) -> int:
    """At most ten years, whatever the exponent: a delayed score has to stay an exact double."""
    longest = MAX_DURATION_MS.bit_length()
    return min(delay_ms << min(max(times, 0), longest), MAX_DURATION_MS)
