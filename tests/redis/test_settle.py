"""What the end of an attempt leaves in Redis: ownership of all, then complete.lua and fail.lua."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest
import redis
from msgspec.structs import replace

from tests.support.keyspace import unchanged_keyspace
from tests.support.lane import RAISED, RETURNED, Lane
from toril.call import Outcome, Usage, Verdict
from toril.runtime.options import JobOpts, KeepRule
from toril.runtime.retry import Complete, Counts, Delay, Fail, GiveBack, Hold, Retry
from toril.runtime.settling import Settled

if TYPE_CHECKING:
    from toril.runtime.claim import Claim
    from toril.runtime.retry import Settlement

ALL = [
    (Complete(), RETURNED),
    (Fail("boom"), RAISED),
    (Retry("boom", 0), RAISED),
    (Retry("boom", 1000), RAISED),
    (GiveBack(), Outcome(Verdict.INTERRUPTED)),
    (Delay(1000), Outcome(Verdict.DELAYED)),
    (Hold(1000), Outcome(Verdict.RATE_LIMITED)),
]
every_settlement = pytest.mark.parametrize(
    ("settlement", "outcome"),
    ALL,
    ids=["complete", "fail", "retry", "later", "give-back", "delay", "hold"],
)


def is_free(lane: Lane, job_id: str = "1") -> bool:
    """Neither active nor locked nor suspected."""
    return not (
        job_id in lane.ids("active")
        or lane.client.exists(lane.key(f"{job_id}:lock"))
        or lane.client.sismember(lane.key("stalled"), job_id)
    )


# -- ownership


@every_settlement
def test_settling_frees_the_job_and_leaves_the_verdict(
    lane: Lane, settlement: Settlement, outcome: Outcome
) -> None:
    claim = lane.claim_new()
    lane.client.sadd(lane.key("stalled"), "1")
    told = replace(outcome, detail={"signal": "SIGKILL"}, usage=Usage(5, 4, 3, 2))

    assert lane.settle(claim, settlement, told) is Settled.DONE

    assert is_free(lane)
    job = lane.job("1")
    assert job["t:verdict"] == outcome.verdict.value
    assert json.loads(job["t:detail"]) == {"signal": "SIGKILL"}
    assert json.loads(job["t:usage"]) == {
        "wall_ms": 5,
        "cpu_ms": 4,
        "rss_growth_bytes": 3,
        "peak_memory_bytes": 2,
    }
    assert job["t:settled"] == claim.token


@every_settlement
def test_second_sending_changes_nothing(
    lane: Lane, settlement: Settlement, outcome: Outcome
) -> None:
    claim = lane.claim_new()
    lane.settle(claim, settlement, outcome)
    with unchanged_keyspace(lane.client):
        assert lane.settle(claim, settlement, outcome) is Settled.ALREADY


@every_settlement
def test_foreign_lock_refuses(lane: Lane, settlement: Settlement, outcome: Outcome) -> None:
    claim = lane.claim_new()
    lane.client.set(lane.key("1:lock"), "somebody else")
    with unchanged_keyspace(lane.client):
        assert lane.settle(claim, settlement, outcome) is Settled.LOST


@every_settlement
def test_lapsed_lock_is_retaken_while_nobody_started_the_job_again(
    lane: Lane, settlement: Settlement, outcome: Outcome
) -> None:
    claim = lane.claim_new()
    lane.client.delete(lane.key("1:lock"))
    assert lane.settle(claim, settlement, outcome) is Settled.DONE


@every_settlement
def test_lapsed_lock_of_a_job_started_again_refuses(
    lane: Lane, settlement: Settlement, outcome: Outcome
) -> None:
    claim = lane.claim_new()
    lane.client.delete(lane.key("1:lock"))
    lane.client.hincrby(lane.key("1"), "ats", 1)
    with unchanged_keyspace(lane.client):
        assert lane.settle(claim, settlement, outcome) is Settled.LOST


@every_settlement
@pytest.mark.parametrize("locked", [True, False])
def test_job_that_is_not_active_refuses(
    lane: Lane, settlement: Settlement, outcome: Outcome, *, locked: bool
) -> None:
    claim = lane.claim_new()
    lane.client.lrem(lane.key("active"), 0, "1")
    if not locked:
        lane.client.delete(lane.key("1:lock"))
    with unchanged_keyspace(lane.client):
        assert lane.settle(claim, settlement, outcome) is Settled.LOST


@every_settlement
def test_removed_job_refuses(lane: Lane, settlement: Settlement, outcome: Outcome) -> None:
    claim = lane.claim_new()
    lane.client.delete(lane.key("1"))
    with unchanged_keyspace(lane.client):
        assert lane.settle(claim, settlement, outcome) is Settled.GONE


@every_settlement
def test_job_key_of_another_type_refuses(
    lane: Lane, settlement: Settlement, outcome: Outcome
) -> None:
    claim = lane.claim_new()
    lane.client.set(lane.key("1"), "text")
    with unchanged_keyspace(lane.client):
        assert lane.settle(claim, settlement, outcome) is Settled.LOST


@every_settlement
@pytest.mark.parametrize("name", ["wait", "events", "meta", "stalled", "prioritized", "marker"])
def test_taken_key_refuses_before_anything_is_written(
    lane: Lane, settlement: Settlement, outcome: Outcome, name: str
) -> None:
    claim = lane.claim_new()
    lane.client.set(lane.key(name), "taken")
    with unchanged_keyspace(lane.client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        lane.settle(claim, settlement, outcome)


@pytest.mark.parametrize(
    ("settlement", "name"),
    [(Complete(), "completed"), (Fail("x"), "failed"), (Retry("x", 1000), "delayed")],
)
def test_taken_target_refuses_before_anything_is_written(
    lane: Lane, settlement: Settlement, name: str
) -> None:
    claim = lane.claim_new()
    lane.client.hset(lane.key(name), "a", "job called that")
    with unchanged_keyspace(lane.client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        lane.settle(claim, settlement)


@every_settlement
def test_settling_is_allowed_on_a_full_server(
    lane: Lane, settlement: Settlement, outcome: Outcome
) -> None:
    claim = lane.claim_new()
    lane.client.config_set("maxmemory", 1)
    try:
        assert lane.settle(claim, settlement, outcome) is Settled.DONE
    finally:
        lane.client.config_set("maxmemory", 0)


@every_settlement
def test_paused_queue_gets_no_base_marker(
    lane: Lane, settlement: Settlement, outcome: Outcome
) -> None:
    claim = lane.claim_new()
    lane.client.hset(lane.key("meta"), "paused", 1)
    lane.settle(claim, settlement, outcome)
    assert "0" not in lane.scores("marker")


# -- complete


def test_completed_job_is_what_node_reads(lane: Lane) -> None:
    claim = lane.claim_new()
    lane.now_ms += 50
    lane.settle(claim, Complete(), RETURNED)
    job = lane.job("1")
    assert (job["returnvalue"], job["finishedOn"], job["atm"]) == (
        '{"ok":1}',
        str(lane.now_ms),
        "1",
    )
    assert lane.scores("completed") == {"1": lane.now_ms}
    assert lane.events() == [
        {"event": "completed", "jobId": "1", "returnvalue": '{"ok":1}', "prev": "active"},
        {"event": "drained"},
    ]
    assert lane.client.hget(lane.key("meta"), "opts.maxLenEvents") == b"10000"


@pytest.mark.parametrize("name", ["wait", "prioritized", "active"])
def test_no_drained_while_something_is_left(lane: Lane, name: str) -> None:
    claim = lane.claim_new()
    if name == "prioritized":
        lane.prioritize("2", 1)
    else:
        lane.client.lpush(lane.key(name), lane.store("2"))
    lane.settle(claim, Complete(), RETURNED)
    assert lane.event_names() == ["completed"]


@pytest.mark.parametrize(
    ("suffix", "word"),
    [("dependencies", Settled.PENDING_CHILDREN), ("unsuccessful", Settled.FAILED_CHILDREN)],
)
def test_job_with_open_children_cannot_complete_but_fail(
    lane: Lane, suffix: str, word: Settled
) -> None:
    claim = lane.claim_new()
    key = lane.key(f"1:{suffix}")
    if suffix == "dependencies":
        lane.client.sadd(key, "bull:lane:2")
    else:
        lane.client.zadd(key, {"bull:lane:2": 1})
    with unchanged_keyspace(lane.client):
        assert lane.settle(claim, Complete(), RETURNED) is word
    assert lane.settle(claim, Fail("children")) is Settled.DONE


def test_event_stream_is_held_at_its_length(lane: Lane) -> None:
    claim = lane.claim_new()
    lane.client.hset(lane.key("meta"), "opts.maxLenEvents", 10)
    for _ in range(500):
        lane.client.xadd(lane.key("events"), {"event": "noise"})
    lane.settle(claim, Complete(), RETURNED)
    assert lane.client.xlen(lane.key("events")) < 200
    assert lane.event_names()[-2:] == ["completed", "drained"]


def test_deduplication_key_is_released_unless_its_time_runs(lane: Lane) -> None:
    for name in ("own", "foreign", "timed"):
        claim = lane.claim_new(name, deid=f"d-{name}")
        lane.client.set(lane.key(f"de:d-{name}"), "other" if name == "foreign" else name)
        if name == "timed":
            lane.client.pexpire(lane.key("de:d-timed"), 60_000)
        lane.settle(claim, Complete(), RETURNED)
    assert not lane.client.exists(lane.key("de:d-own"))
    assert lane.client.get(lane.key("de:d-foreign")) == b"other"
    assert lane.client.get(lane.key("de:d-timed")) == b"timed"


# -- keep rules


def finish(lane: Lane, keep: KeepRule, *, fail: bool = False) -> Claim:
    lane.now_ms += 1000
    claim = lane.claim_new(f"j{lane.now_ms}")
    lane.client.rpush(lane.key(f"{claim.id}:logs"), "line")
    settlement = Fail("boom", keep=keep) if fail else Complete(keep)
    assert lane.settle(claim, settlement) is Settled.DONE
    return claim


@pytest.mark.parametrize(("name", "fail"), [("completed", False), ("failed", True)])
def test_keep_none_drops_the_job_and_still_tells(lane: Lane, name: str, *, fail: bool) -> None:
    claim = finish(lane, KeepRule(count=0), fail=fail)
    assert not lane.client.keys(lane.key(f"{claim.id}*"))
    assert not lane.client.exists(lane.key(name))
    assert lane.event_names()[0] == name


@pytest.mark.parametrize(("name", "fail"), [("completed", False), ("failed", True)])
def test_keep_count_leaves_the_newest(lane: Lane, name: str, *, fail: bool) -> None:
    finished = [finish(lane, KeepRule(count=2), fail=fail) for _ in range(4)]
    assert lane.ids(name) == [claim.id for claim in finished[2:]]
    assert not lane.client.keys(lane.key(f"{finished[0].id}*"))
    assert lane.client.exists(lane.key(f"{finished[3].id}:logs"))


def test_keep_age_removes_what_is_older(lane: Lane) -> None:
    finished = [finish(lane, KeepRule(age_s=2.5)) for _ in range(5)]
    assert lane.ids("completed") == [claim.id for claim in finished[2:]]


def test_keep_age_zero_removes_the_job_itself(lane: Lane) -> None:
    finish(lane, KeepRule(age_s=0))
    assert lane.ids("completed") == []


def test_keep_age_removes_at_most_its_limit(lane: Lane) -> None:
    for _ in range(4):
        finish(lane, KeepRule())
    lane.now_ms += 60_000
    finish(lane, KeepRule(age_s=1, limit=3))
    assert len(lane.ids("completed")) == 2


# -- fail


def test_failed_job_is_what_node_reads(lane: Lane) -> None:
    claim = lane.claim_new(opts='{"attempts":1}', defa="old reason")
    lane.settle(claim, Fail("boom"), RAISED)
    job = lane.job("1")
    assert (job["failedReason"], job["finishedOn"], job["atm"]) == ("boom", str(lane.now_ms), "1")
    assert json.loads(job["stacktrace"]) == ["Traceback\nboom"]
    assert "defa" not in job
    assert lane.scores("failed") == {"1": lane.now_ms}
    assert lane.events() == [
        {"event": "failed", "jobId": "1", "failedReason": "boom", "prev": "active"},
        {"event": "retries-exhausted", "jobId": "1", "attemptsMade": "1"},
        {"event": "drained"},
    ]


def test_failing_early_exhausts_no_retries(lane: Lane) -> None:
    claim = lane.claim_new(opts='{"attempts":5}')
    lane.settle(claim, Fail("no use"), RAISED)
    assert lane.event_names() == ["failed", "drained"]


def test_failing_by_a_crash_counts_it(lane: Lane) -> None:
    claim = lane.claim_new(**{"t:crashes": 2})
    lane.settle(claim, Fail("crashed 3 times (SIGSEGV)", Counts.CRASH), RAISED)
    assert lane.job("1")["t:crashes"] == "3"


@pytest.mark.parametrize(
    ("limit", "kept"), [(None, ["a/ä", "b", "new"]), (2, ["b", "new"]), (1, ["new"]), (0, [])]
)
def test_stack_traces_are_appended_and_cut(lane: Lane, limit: int | None, kept: list[str]) -> None:
    claim = lane.claim_new(stacktrace=json.dumps(["a/ä", "b"]))
    claim = msgspec.structs.replace(claim, opts=JobOpts(stack_trace_limit=limit))
    lane.settle(claim, Fail("x"), Outcome(Verdict.RAISED, stack="new"))
    assert json.loads(lane.job("1")["stacktrace"]) == kept


@pytest.mark.parametrize("old", ["nonsense", '{"a":1}', "7", '"text"', "[]"])
def test_unusable_stack_traces_are_replaced(lane: Lane, old: str) -> None:
    claim = lane.claim_new(stacktrace=old)
    lane.settle(claim, Fail("x"), Outcome(Verdict.RAISED, stack="new"))
    assert json.loads(lane.job("1")["stacktrace"]) == ["new"]


def test_error_without_a_stack_adds_no_entry(lane: Lane) -> None:
    claim = lane.claim_new()
    lane.settle(claim, Fail("x"), Outcome(Verdict.CRASHED))
    assert lane.job("1")["stacktrace"] == "[]"


def test_message_with_a_lone_surrogate_is_recorded(lane: Lane) -> None:
    claim = lane.claim_new()
    lane.settle(claim, Fail("a\ud800b"), RAISED)
    assert lane.job("1")["failedReason"] == "a?b"
