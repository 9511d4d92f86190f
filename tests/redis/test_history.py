"""`t:history`: what each of a job's last attempts came to, whoever ended it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from tests.support.lane import RAISED, RETURNED, Lane
from toril.call import Outcome, Usage, Verdict
from toril.runtime.claiming import sweep_stalled
from toril.runtime.history import Attempt, Worker
from toril.runtime.reading import get_job
from toril.runtime.retry import Complete, Counts, Delay, Fail, GiveBack, Hold, Retry
from toril.runtime.settling import Ending, settle

if TYPE_CHECKING:
    from toril.runtime.claim import Claim
    from toril.runtime.retry import Settlement

EVERY = {
    "complete": (Complete(), RETURNED),
    "fail": (Fail("boom"), RAISED),
    "retry": (Retry("boom", 0), RAISED),
    "crash": (Retry("boom", 1000, Counts.CRASH), Outcome(Verdict.CRASHED)),
    "give-back": (GiveBack(), Outcome(Verdict.INTERRUPTED)),
    "delay": (Delay(1000), Outcome(Verdict.DELAYED)),
    "hold": (Hold(1000), Outcome(Verdict.RATE_LIMITED)),
}


def history(lane: Lane, job_id: str = "1") -> tuple[Attempt, ...]:
    found: tuple[Attempt, ...] = lane.run(get_job(lane.base, job_id)).history
    return found


def again(lane: Lane, job_id: str = "1") -> Claim:
    """Claim a job once more."""
    lane.client.delete(lane.key("delayed"), lane.key("wait"), lane.key("toril:hold"))
    lane.client.lpush(lane.key("wait"), job_id)
    (claim,) = lane.claim().claims
    return claim


@pytest.mark.parametrize("kind", EVERY)
def test_every_settlement_adds_one_attempt(lane: Lane, kind: str) -> None:
    settlement, outcome = EVERY[kind]
    started_ms = lane.now_ms
    claim = lane.claim_new(ats=4)
    lane.now_ms += 70
    outcome = replace(
        outcome,
        usage=Usage(65, 60, -5, 1024),
        detail={"pid": 77, "signal": "SIGSEGV", "stderr": "last\nlines"},
    )
    command = settle(
        lane.base,
        Ending(claim, settlement, outcome),
        worker=Worker("w-1", "host-1"),
        now_ms=lane.now_ms,
    )
    assert command is not None
    lane.run(command)
    assert history(lane) == (
        Attempt(
            attempt=5,
            verdict=outcome.verdict.value,
            started_ms=started_ms,
            ended_ms=lane.now_ms,
            worker="w-1",
            host="host-1",
            pid=77,
            usage=Usage(65, 60, -5, 1024),
            detail={"signal": "SIGSEGV"},
            stderr="last\nlines",
        ),
    )


def test_vanished_worker_leaves_a_stalled_attempt(lane: Lane) -> None:
    lane.wait("1")
    started_ms = lane.now_ms
    lane.claim(worker_name='the "host"-1')
    lane.client.delete(lane.key("1:lock"))
    lane.client.sadd(lane.key("stalled"), "1")
    lane.now_ms += 60_000
    lane.run(sweep_stalled(lane.base, 1, 30_000, now_ms=lane.now_ms))
    assert history(lane) == (Attempt(1, "stalled", started_ms, lane.now_ms, worker='the "host"-1'),)


def test_last_ten_attempts_stay_in_order(lane: Lane) -> None:
    claim = lane.claim_new()
    for _ in range(13):
        lane.settle(claim, Retry("boom", 0), RAISED)
        claim = again(lane)
    assert [one.attempt for one in history(lane)] == list(range(4, 14))
    assert lane.client.hget(lane.key("1"), "t:history").count(b"\n") == 9


def test_counters_are_kept_apart(lane: Lane) -> None:
    claim = lane.claim_new()
    ways: list[tuple[Settlement, Outcome]] = [
        (Retry("boom", 0), RAISED),
        (Retry("SIGSEGV", 1, Counts.CRASH), Outcome(Verdict.CRASHED)),
        (Retry("SIGSEGV", 1, Counts.CRASH), Outcome(Verdict.CRASHED)),
        (GiveBack(), Outcome(Verdict.INTERRUPTED)),
        (GiveBack(), Outcome(Verdict.INTERRUPTED)),
        (GiveBack(), Outcome(Verdict.INTERRUPTED)),
        (GiveBack(Counts.NOTHING), Outcome(Verdict.UNAVAILABLE)),
        (Delay(1), Outcome(Verdict.DELAYED)),
        (Hold(1), Outcome(Verdict.RATE_LIMITED)),
    ]
    for settlement, outcome in ways:
        lane.settle(claim, settlement, outcome)
        claim = again(lane)
    lane.client.hset(lane.key("1"), "stc", 4)
    job = lane.run(get_job(lane.base, "1"))
    assert (job.attempts_made, job.crashes, job.interruptions, job.stalls) == (1, 2, 3, 4)
    assert job.attempts_started == 10


@pytest.mark.parametrize("processed_on", ["", "soon", "1e300", "-5"])
def test_start_that_nobody_noted_is_unknown(lane: Lane, processed_on: str) -> None:
    claim = lane.claim_new()
    lane.client.hset(lane.key("1"), "processedOn", processed_on)
    lane.settle(claim, Complete(), RETURNED)
    assert history(lane)[0].started_ms is None


def test_what_somebody_else_wrote_there_does_not_stop_the_reader(lane: Lane) -> None:
    broken = ["nonsense", "7", "[]", '{"attempt":"x","usage":3,"detail":[]}', "[" * 5000, "\xff"]
    claim = lane.claim_new(**{"t:history": "\n".join(broken)})
    lane.settle(claim, Complete(), RETURNED)
    assert [one.verdict for one in history(lane)] == ["", "returned"]


@pytest.mark.parametrize(
    "text", ["x" * 100_000, "\ud800", "a\nb\r\u2028\x00", "\U0001f402" * 5000, '"}\n{']
)
def test_entry_is_bounded_and_one_line_whatever_a_child_said(lane: Lane, text: str) -> None:
    claim = lane.claim_new()
    detail: dict[str, Any] = {"stderr": text, "rule": text}
    lane.settle(claim, Fail("x"), Outcome(Verdict.CRASHED, detail=detail))
    raw = lane.client.hget(lane.key("1"), "t:history")
    assert len(raw) < 30_000
    assert b"\n" not in raw
    (attempt,) = history(lane)
    assert attempt.stderr == text[-1024:]
    assert attempt.detail == {"rule": text[:1024]}


def test_stack_and_wish_are_shown(lane: Lane) -> None:
    lane.wait("1", **{"t:stack": "File x.py", "t:cancel": "17"})
    job = lane.run(get_job(lane.base, "1"))
    assert (job.stack, job.cancelled_ms) == ("File x.py", 17)


def test_peak_memory_is_shown(lane: Lane) -> None:
    lane.wait("1", **{"t:usage": json.dumps({"wall_ms": 1, "peak_memory_bytes": 2})})
    assert lane.run(get_job(lane.base, "1")).usage == Usage(1, peak_memory_bytes=2)
