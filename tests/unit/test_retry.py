"""One test per row of the table, the back-off arithmetic, and the words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from toril.call import Outcome, Verdict
from toril.runtime.claim import Claim
from toril.runtime.options import Backoff, JobOpts, KeepRule
from toril.runtime.retry import (
    ROWS,
    STARTED_TOO_OFTEN,
    Abandon,
    Complete,
    Counts,
    Delay,
    Fail,
    GiveBack,
    Hold,
    Policy,
    Retry,
    WaitForChildren,
    backoff_ms,
    decide,
    unrun,
    words,
)
from toril.units import MAX_DURATION_MS

if TYPE_CHECKING:
    from toril.runtime.retry import Settlement

CLAIM = Claim("1", "t:1", "n", opts=JobOpts(attempts=3, backoff=Backoff("fixed", 500)))
ATTEMPTS = [
    Verdict.RAISED,
    Verdict.RESULT_INVALID,
    Verdict.RESULT_TOO_LARGE,
    Verdict.PROCESSOR_EXIT,
    Verdict.MEMORY_ERROR,
    Verdict.TIMED_OUT,
    Verdict.OVER_MEMORY,
    Verdict.OVER_DISK,
    Verdict.OVER_THREADS,
    Verdict.CPU_LIMIT,
]
CRASHES = [Verdict.CRASHED, Verdict.EXITED, Verdict.BROKE_PROTOCOL, Verdict.DISCONNECTED]
FINAL = [Verdict.CANCELLED, Verdict.UNRECOVERABLE, Verdict.UNREADABLE, Verdict.DEFERRED_FAILURE]


def after(verdict: Verdict, claim: Claim = CLAIM, policy: Policy | None = None) -> Settlement:
    return decide(claim, Outcome(verdict, message="why"), policy or Policy(), 0.5)


def test_every_verdict_has_a_row() -> None:
    assert ROWS.keys() == set(Verdict)


def test_every_verdict_has_a_test_here() -> None:
    others = {
        Verdict.RETURNED,
        Verdict.INTERRUPTED,
        Verdict.LOST,
        Verdict.LOCK_LOST,
        Verdict.UNAVAILABLE,
        Verdict.IMPORT_FAILED,
        Verdict.DELAYED,
        Verdict.RATE_LIMITED,
        Verdict.WAITING_CHILDREN,
    }
    assert {*ATTEMPTS, *CRASHES, *FINAL} | others == set(Verdict)


def test_returned_completes() -> None:
    assert after(Verdict.RETURNED) == Complete(KeepRule())


@pytest.mark.parametrize("verdict", ATTEMPTS)
def test_failed_attempt_is_retried_while_attempts_are_left(verdict: Verdict) -> None:
    assert after(verdict) == Retry("why", 500, Counts.ATTEMPT)
    assert after(verdict, replace(CLAIM, attempts_made=1)) == Retry("why", 500, Counts.ATTEMPT)
    assert after(verdict, replace(CLAIM, attempts_made=2)) == Fail("why", Counts.ATTEMPT)


@pytest.mark.parametrize("attempts", [0, 1])
def test_one_attempt_means_no_retry(attempts: int) -> None:
    claim = replace(CLAIM, opts=JobOpts(attempts=attempts))
    assert after(Verdict.RAISED, claim) == Fail("why")


@pytest.mark.parametrize("verdict", CRASHES)
def test_first_crash_is_retried_at_once_then_later_and_fails_at_the_limit(verdict) -> None:
    assert after(verdict) == Retry("why", 0, Counts.CRASH)
    assert after(verdict, replace(CLAIM, crashes=1)) == Retry("why", 1000, Counts.CRASH)
    assert after(verdict, replace(CLAIM, crashes=2)) == Fail("crashed 3 times (why)", Counts.CRASH)


@pytest.mark.parametrize("verdict", CRASHES)
def test_crashes_do_not_look_at_attempts(verdict: Verdict) -> None:
    claim = replace(CLAIM, opts=JobOpts(attempts=1), attempts_made=5)
    assert after(verdict, claim) == Retry("why", 0, Counts.CRASH)


@pytest.mark.parametrize("verdict", CRASHES)
def test_on_crash_fail_fails_at_the_first(verdict: Verdict) -> None:
    assert after(verdict, policy=Policy(on_crash="fail")) == Fail("why", Counts.CRASH)


def test_crash_limit_of_one_is_worded_as_once() -> None:
    policy = Policy(max_crashes=1)
    assert after(Verdict.CRASHED, policy=policy) == Fail("crashed once (why)", Counts.CRASH)


@pytest.mark.parametrize(("crashes", "delay_ms"), [(0, 0), (1, 1000), (2, 2000), (5, 16_000)])
def test_crashes_from_the_second_on_wait_longer_each(crashes: int, delay_ms: int) -> None:
    """However many are allowed, a job that always kills its child never spins."""
    found = after(Verdict.CRASHED, replace(CLAIM, crashes=crashes), Policy(max_crashes=100))
    assert found == Retry("why", delay_ms, Counts.CRASH)


def test_crash_delay_stays_within_bounds() -> None:
    settlement = after(Verdict.CRASHED, replace(CLAIM, crashes=10_000), Policy(max_crashes=10**6))
    assert settlement == Retry("why", MAX_DURATION_MS, Counts.CRASH)


def test_interruption_gives_the_job_back_without_limit() -> None:
    claim = replace(CLAIM, interruptions=1000, attempts_made=9)
    assert after(Verdict.INTERRUPTED, claim) == GiveBack(Counts.INTERRUPTION)


@pytest.mark.parametrize("verdict", [Verdict.UNAVAILABLE, Verdict.IMPORT_FAILED])
def test_missing_child_gives_the_job_back_and_counts_nothing(verdict: Verdict) -> None:
    assert after(verdict) == GiveBack(Counts.NOTHING)


def test_lost_lock_writes_nothing() -> None:
    assert after(Verdict.LOCK_LOST) == Abandon()


@pytest.mark.parametrize(
    ("verdict", "expected"), [(Verdict.DELAYED, Delay), (Verdict.RATE_LIMITED, Hold)]
)
@pytest.mark.parametrize(
    ("detail", "delay_ms"),
    [({"delay_ms": 1500}, 1500), ({"delay_ms": 0.6}, 1), ({"delay_ms": -5}, 0), ({}, 0),
     ({"delay_ms": "soon"}, 0), ({"delay_ms": 1e300}, MAX_DURATION_MS)],
)  # fmt: skip
def test_time_that_the_processor_asked_for_costs_nothing(
    verdict: Verdict, expected: type, detail: dict, delay_ms: int
) -> None:
    claim = replace(CLAIM, attempts_made=9, crashes=9)
    assert decide(claim, Outcome(verdict, detail=detail), Policy(), 0) == expected(delay_ms)


def test_job_that_waits_for_its_children_pays_nothing() -> None:
    claim = replace(CLAIM, attempts_made=9, crashes=9)
    assert decide(claim, Outcome(Verdict.WAITING_CHILDREN), Policy(), 0) == WaitForChildren()


@pytest.mark.parametrize(("most", "runs"), [(2, False), (3, True), (None, True)])
def test_job_does_not_run_when_it_was_started_too_often(most: int | None, *, runs: bool) -> None:
    """`maxStartedAttempts < ats` at the start, as in BullMQ."""
    claim = replace(CLAIM, attempts_started=3)
    outcome = unrun(claim, Policy(max_started_attempts=most))
    if runs:
        assert outcome is None
    else:
        assert outcome == Outcome(Verdict.DEFERRED_FAILURE, message=STARTED_TOO_OFTEN)
        assert decide(claim, outcome, Policy(), 0) == Fail(STARTED_TOO_OFTEN)


@pytest.mark.parametrize("verdict", [Verdict.RAISED, Verdict.CRASHED])
@pytest.mark.parametrize(("most", "retries"), [(2, False), (3, False), (4, True), (None, True)])
def test_last_start_is_not_followed_by_a_retry(
    verdict: Verdict, most: int | None, *, retries: bool
) -> None:
    """`maxStartedAttempts <= ats` at the end, as in BullMQ."""
    claim = replace(CLAIM, attempts_started=3)
    settlement = after(verdict, claim, Policy(max_started_attempts=most))
    assert isinstance(settlement, Retry if retries else Fail)


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"unreadable": "broken"}, Outcome(Verdict.UNREADABLE, message="broken")),
        ({"deferred_failure": "stalled"}, Outcome(Verdict.DEFERRED_FAILURE, message="stalled")),
        (
            {"is_cancelled": True},
            Outcome(Verdict.CANCELLED, message="cancelled", detail={"stage": "waiting"}),
        ),
        ({}, None),
    ],
)
def test_what_must_not_run_says_how_it_ends(fields: dict, outcome: Outcome | None) -> None:
    assert unrun(replace(CLAIM, **fields), Policy()) == outcome


def test_metrics_size_goes_with_every_end() -> None:
    policy = Policy(metrics_size=7)
    assert after(Verdict.RETURNED, policy=policy) == Complete(metrics_size=7)
    assert after(Verdict.CANCELLED, policy=policy) == Fail("why", metrics_size=7)


@pytest.mark.parametrize("verdict", FINAL)
def test_final_verdict_fails_whatever_attempts_are_left(verdict: Verdict) -> None:
    assert after(verdict) == Fail("why", Counts.ATTEMPT)


def test_deferred_failure_and_unreadable_job_fail_with_their_own_reason() -> None:
    claim = replace(CLAIM, deferred_failure="stalled", unreadable="options are broken")
    assert after(Verdict.DEFERRED_FAILURE, claim) == Fail("stalled")
    assert after(Verdict.UNREADABLE, claim) == Fail("options are broken")


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome(Verdict.RAISED, message="m", error_name="E"), "m"),
        (Outcome(Verdict.RAISED, error_name="E"), "E"),
        (Outcome(Verdict.UNRECOVERABLE), "unrecoverable"),
    ],
)
def test_reason_is_never_empty(outcome: Outcome, reason: str) -> None:
    claim = replace(CLAIM, opts=JobOpts())
    assert decide(claim, outcome, Policy(), 0) == Fail(reason)


def test_jobs_own_keep_rules_win_over_the_workers() -> None:
    policy = Policy(keep_completed=KeepRule(5), keep_failed=KeepRule(6))
    assert after(Verdict.RETURNED, policy=policy) == Complete(KeepRule(5))
    assert after(Verdict.CANCELLED, policy=policy) == Fail("why", keep=KeepRule(6))
    opts = JobOpts(remove_on_complete=KeepRule(0), remove_on_fail=KeepRule(1))
    claim = replace(CLAIM, opts=opts)
    assert after(Verdict.RETURNED, claim, policy) == Complete(KeepRule(0))
    assert after(Verdict.CANCELLED, claim, policy) == Fail("why", keep=KeepRule(1))


@pytest.mark.parametrize(
    ("backoff", "failed", "expected"),
    [
        (None, 1, 0),
        (Backoff("fixed", 0), 1, 0),
        (Backoff("fixed", 100), 7, 100),
        (Backoff("exponential", 100), 1, 100),
        (Backoff("exponential", 100), 2, 200),
        (Backoff("exponential", 100), 4, 800),
        (Backoff("exponential", 100), 5000, MAX_DURATION_MS),
        (Backoff("exponential", 0), 5000, 0),
        (Backoff("somebody's strategy", 70), 3, 70),
    ],
)
def test_backoff(backoff: Backoff | None, failed: int, expected: int) -> None:
    assert backoff_ms(backoff, failed, 0.99) == expected


STRATEGY = replace(CLAIM, opts=JobOpts(attempts=3, backoff=Backoff("linear", 500)))


@pytest.mark.parametrize(
    ("advised", "expected"),
    [
        (70, Retry("why", 70)),
        (0, Retry("why", 0)),
        (-1, Fail("why")),
        (10**30, Retry("why", MAX_DURATION_MS)),
        (None, Retry("why", 500)),
    ],
)
def test_strategys_answer_is_followed_and_without_one_the_jobs_delay(
    advised: int | None, expected: Retry | Fail
) -> None:
    detail = {} if advised is None else {"backoff_ms": advised}
    outcome = Outcome(Verdict.RAISED, message="why", detail=detail)
    assert decide(STRATEGY, outcome, Policy(), 0.5) == expected


def test_answer_counts_only_where_the_job_names_a_strategy() -> None:
    outcome = Outcome(Verdict.RAISED, message="why", detail={"backoff_ms": -1})
    assert decide(CLAIM, outcome, Policy(), 0.5) == Retry("why", 500)
    without = replace(CLAIM, opts=JobOpts(attempts=3))
    assert decide(without, outcome, Policy(), 0.5) == Retry("why", 0)


def test_last_attempt_fails_whatever_a_strategy_says() -> None:
    outcome = Outcome(Verdict.RAISED, message="why", detail={"backoff_ms": 70})
    assert decide(replace(STRATEGY, attempts_made=2), outcome, Policy(), 0.5) == Fail("why")


@pytest.mark.parametrize(
    ("share", "jitter", "expected"),
    [(0.5, 0.0, 50), (0.5, 0.999, 99), (1.0, 0.0, 0), (1.0, 0.5, 50), (0.25, 0.5, 87)],
)
def test_jitter_takes_its_share_off(share: float, jitter: float, expected: int) -> None:
    assert backoff_ms(Backoff("fixed", 100, share), 1, jitter) == expected


@pytest.mark.parametrize(
    ("settlement", "expected"),
    [
        (Complete(), "completed"),
        (Retry("x", 0), "retried at once"),
        (Retry("x", 2000), "retried in 2.0 s"),
        (Fail("x"), "failed"),
        (GiveBack(), "given back"),
        (Delay(2000), "delayed by 2.0 s"),
        (Hold(2000), "given back, queue held for 2.0 s"),
        (Abandon(), "abandoned"),
    ],
)
def test_words(settlement: Settlement, expected: str) -> None:
    assert words(settlement) == expected


@pytest.mark.parametrize(
    ("interruptions", "delay_ms"), [(0, None), (1, None), (2, 1_000), (3, 2_000), (5, 8_000)]
)
def test_job_that_loses_its_zygote_again_and_again_leaves_the_front(interruptions, delay_ms):
    """It costs no attempt all the same, and never fails for it."""
    claim = Claim("1", "t:1", "x", interruptions=interruptions)
    found = decide(claim, Outcome(Verdict.LOST), Policy(), 0.0)
    if delay_ms is None:
        assert found == GiveBack(Counts.INTERRUPTION)
    else:
        assert found == Retry("lost", delay_ms, Counts.INTERRUPTION)
