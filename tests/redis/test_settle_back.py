"""retry.lua, give_back.lua, delay.lua, hold.lua: ends of attempts that are not the job's end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.keyspace import unchanged_keyspace
from toril.call import Outcome, Verdict
from toril.runtime.asking import cancel_job
from toril.runtime.retry import Counts, Delay, GiveBack, Hold, Retry
from toril.runtime.settling import Settled

if TYPE_CHECKING:
    from tests.support.lane import Lane


# -- retry


def test_immediate_retry_goes_to_the_back(lane: Lane) -> None:
    claim = lane.claim_new()
    lane.wait("2")
    lane.settle(claim, Retry("boom", 0))
    assert lane.ids("wait") == ["1", "2"]
    job = lane.job("1")
    assert (job["atm"], job["failedReason"]) == ("1", "boom")
    assert "finishedOn" not in job
    assert lane.events() == [{"event": "waiting", "jobId": "1", "prev": "active"}]
    assert lane.scores("marker") == {"0": 0}


def test_immediate_retry_of_a_lifo_job_goes_to_the_front(lane: Lane) -> None:
    claim = lane.claim_new(opts='{"lifo":true}')
    lane.wait("2")
    lane.settle(claim, Retry("boom", 0))
    assert lane.ids("wait") == ["2", "1"]


def test_immediate_retry_keeps_the_priority(lane: Lane) -> None:
    claim = lane.claim_new(priority=3)
    lane.settle(claim, Retry("boom", 0))
    assert lane.scores("prioritized") == {"1": 3 * 2**32 + 1}
    assert lane.scores("marker") == {"0": 0}


def test_immediate_retry_promotes_due_jobs_first(lane: Lane) -> None:
    claim = lane.claim_new()
    lane.delay("due", lane.now_ms)
    lane.settle(claim, Retry("boom", 0))
    assert lane.ids("wait") == ["1", "due"]
    assert [(e["jobId"], e["prev"]) for e in lane.events()] == [("due", "delayed"), ("1", "active")]


def test_delayed_retry_waits_its_time(lane: Lane) -> None:
    claim = lane.claim_new(priority=3)
    at_ms = lane.now_ms + 1500
    lane.settle(claim, Retry("boom", 1500))
    assert lane.scores("delayed") == {"1": at_ms * 4096}
    job = lane.job("1")
    assert (job["delay"], job["atm"], job["failedReason"]) == ("1500", "1", "boom")
    assert lane.events() == [{"event": "delayed", "jobId": "1", "delay": str(at_ms)}]
    assert lane.scores("marker") == {"1": at_ms}


def test_delayed_retries_of_one_millisecond_keep_their_order(lane: Lane) -> None:
    for job_id in ("a", "b"):
        lane.settle(lane.claim_new(job_id), Retry("boom", 10))
    at_ms = lane.now_ms + 10
    assert lane.scores("delayed") == {"a": at_ms * 4096, "b": at_ms * 4096 + 1}


@pytest.mark.parametrize("delay_ms", [0, 1000])
def test_retry_after_a_crash_costs_no_attempt(lane: Lane, delay_ms: int) -> None:
    claim = lane.claim_new()
    lane.settle(claim, Retry("SIGSEGV", delay_ms, Counts.CRASH))
    job = lane.job("1")
    assert "atm" not in job
    assert job["t:crashes"] == "1"


# -- give back


def test_given_back_job_runs_next_and_costs_no_attempt(lane: Lane) -> None:
    claim = lane.claim_new()
    lane.wait("2")
    lane.settle(claim, GiveBack(), Outcome(Verdict.INTERRUPTED))
    assert lane.ids("wait") == ["2", "1"]
    job = lane.job("1")
    assert job["t:interruptions"] == "1"
    assert "atm" not in job
    assert lane.events() == [{"event": "waiting", "jobId": "1", "prev": "active"}]
    assert lane.scores("marker") == {"0": 0}


def test_given_back_prioritized_job_is_first_of_its_priority_and_wakes(lane: Lane) -> None:
    claim = lane.claim_new(priority=2)
    lane.prioritize("2", 2)
    lane.settle(claim, GiveBack(), Outcome(Verdict.INTERRUPTED))
    assert lane.ids("prioritized") == ["1", "2"]
    assert lane.scores("marker") == {"0": 0}


def test_given_back_for_want_of_a_child_counts_nothing(lane: Lane) -> None:
    claim = lane.claim_new()
    lane.settle(claim, GiveBack(Counts.NOTHING), Outcome(Verdict.UNAVAILABLE))
    assert "t:interruptions" not in lane.job("1")


# -- delay and hold


@pytest.mark.parametrize("delay_ms", [0, 1500])
def test_job_that_asked_for_time_waits_and_costs_nothing(lane: Lane, delay_ms: int) -> None:
    claim = lane.claim_new(priority=3, failedReason="of old")
    at_ms = lane.now_ms + delay_ms
    lane.settle(claim, Delay(delay_ms), Outcome(Verdict.DELAYED))
    assert lane.scores("delayed") == {"1": at_ms * 4096}
    job = lane.job("1")
    assert (job["delay"], job["failedReason"]) == (str(delay_ms), "of old")
    assert not job.keys() & {"atm", "t:crashes", "t:interruptions", "stacktrace"}
    assert lane.events() == [{"event": "delayed", "jobId": "1", "delay": str(at_ms)}]
    assert lane.scores("marker") == {"1": at_ms}


def test_rate_limited_job_goes_to_the_front_of_a_held_queue(lane: Lane) -> None:
    claim = lane.claim_new()
    lane.wait("2")
    lane.settle(claim, Hold(60_000), Outcome(Verdict.RATE_LIMITED))
    assert lane.ids("wait") == ["2", "1"]
    assert not lane.job("1").keys() & {"atm", "t:crashes", "t:interruptions"}
    assert lane.events() == [{"event": "waiting", "jobId": "1", "prev": "active"}]
    with unchanged_keyspace(lane.client):
        claimed = lane.claim(2)
    assert claimed.claims == ()
    assert 59_000 < claimed.limit_ttl_ms <= 60_000


def test_held_queue_promotes_and_gives_again_when_the_hold_is_over(lane: Lane) -> None:
    lane.settle(lane.claim_new(), Hold(60_000), Outcome(Verdict.RATE_LIMITED))
    lane.delay("due", lane.now_ms)
    lane.claim()
    assert lane.ids("delayed") == []
    lane.client.pexpire(lane.key("toril:hold"), 1)
    while lane.client.exists(lane.key("toril:hold")):
        pass
    assert [claim.id for claim in lane.claim(2).claims] == ["1", "due"]


def test_hold_tells_bullmqs_workers_by_their_limiter(lane: Lane) -> None:
    """As `rateLimit(ms)` does; obeyed where a `max` is set."""
    lane.client.hset(lane.key("meta"), mapping={"max": 100, "duration": 1000})
    lane.settle(lane.claim_new(), Hold(60_000), Outcome(Verdict.RATE_LIMITED))
    assert lane.client.get(lane.key("limiter")) == b"9007199254740991"
    assert 59_000 < lane.client.pttl(lane.key("limiter")) <= 60_000


def test_shorter_hold_does_not_shorten_a_longer_one(lane: Lane) -> None:
    first, second = lane.claim_new("1"), lane.claim_new("2")
    lane.settle(first, Hold(60_000), Outcome(Verdict.RATE_LIMITED))
    lane.settle(second, Hold(1000), Outcome(Verdict.RATE_LIMITED))
    assert lane.client.pttl(lane.key("toril:hold")) > 50_000
    assert lane.client.pttl(lane.key("limiter")) > 50_000


def test_hold_of_no_time_only_gives_back(lane: Lane) -> None:
    lane.settle(lane.claim_new(), Hold(0), Outcome(Verdict.RATE_LIMITED))
    assert [claim.id for claim in lane.claim().claims] == ["1"]
    assert not lane.client.exists(lane.key("limiter"))


@pytest.mark.parametrize("settlement", [Retry("no", 60_000), Delay(60_000)])
def test_cancelled_job_does_not_wait_to_be_ended(lane: Lane, settlement: Retry | Delay) -> None:
    """Its attempt ended before its worker was told: the very next claim finds it."""
    held = lane.claim_new()
    lane.run(cancel_job(lane.base, held.id, now_ms=lane.now_ms))
    assert lane.settle(held, settlement) is Settled.DONE
    (again,) = lane.claim().claims
    assert (again.id, again.is_cancelled) == (held.id, True)
