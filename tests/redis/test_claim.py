"""claim.lua: which jobs are taken, how they are marked, and what stops a claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from tests.support.keyspace import snapshot, unchanged_keyspace
from tests.support.lane import LOCK_MS, START_MS, Lane
from toril.runtime.claim import ClaimRequest
from toril.runtime.claiming import claim_jobs
from toril.sizes import MAX_DATA_BYTES, MAX_OPTS_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence


def ids(claims: Sequence) -> list[str]:
    return [claim.id for claim in claims]


def test_claim_locks_and_marks_the_job_as_a_node_worker_would(lane: Lane) -> None:
    lane.wait("1", name="resize", data='{"a":1}', opts='{"attempts":3}')

    (claim,) = lane.claim(worker_name="w1").claims

    assert (claim.id, claim.token, claim.name, claim.data) == ("1", "token:0", "resize", b'{"a":1}')
    assert (claim.opts.attempts, claim.raw_opts) == (3, b'{"attempts":3}')
    assert (claim.timestamp_ms, claim.processed_on_ms) == (START_MS, lane.now_ms)
    assert lane.client.get(lane.key("1:lock")) == b"token:0"
    assert LOCK_MS - 1000 < lane.client.pttl(lane.key("1:lock")) <= LOCK_MS
    assert lane.ids("active") == ["1"]
    assert lane.ids("wait") == []
    job = lane.job("1")
    assert (job["processedOn"], job["pb"], job["ats"]) == (str(lane.now_ms), "w1", "1")
    assert "atm" not in job
    assert lane.events() == [{"event": "active", "jobId": "1", "prev": "waiting"}]
    assert lane.scores("marker") == {"0": 0}


def test_claim_counts_attempts_started_and_reads_all_counters(lane: Lane) -> None:
    lane.wait("1", ats=4, atm=2, stc=1, **{"t:crashes": 1, "t:interruptions": 5})
    (claim,) = lane.claim().claims
    assert claim.attempts_started == 5
    assert (claim.attempts_made, claim.stalls) == (2, 1)
    assert (claim.crashes, claim.interruptions) == (1, 5)


def test_no_worker_name_leaves_no_name(lane: Lane) -> None:
    lane.claim_new()
    assert "pb" not in lane.job("1")


def test_oldest_waiting_runs_first_then_by_priority(lane: Lane) -> None:
    for job_id, priority in (("p5", 5), ("p1", 1), ("p3", 3), ("q1", 1)):
        lane.prioritize(job_id, priority)
    lane.wait("a")
    lane.wait("b")
    assert ids(lane.claim(10).claims) == ["a", "b", "p1", "q1", "p3", "p5"]
    assert lane.ids("active") == ["p5", "p3", "q1", "p1", "b", "a"]
    assert not lane.client.exists(lane.key("pc"))


def test_a_full_claim_says_that_there_may_be_more(lane: Lane) -> None:
    lane.wait("a")
    lane.wait("b")
    assert lane.claim(1).more
    assert not lane.claim(2).more


def test_empty_claim_marks_nothing(lane: Lane) -> None:
    with unchanged_keyspace(lane.client):
        claimed = lane.claim(3)
    assert claimed.claims == ()
    assert (claimed.more, claimed.gated, claimed.next_delayed_ms) == (False, False, 0)


def test_due_delayed_jobs_are_promoted_in_their_order(lane: Lane) -> None:
    lane.delay("late", lane.now_ms + 1)
    lane.delay("second", lane.now_ms)
    lane.delay("first", lane.now_ms - 5)
    lane.delay("prio", lane.now_ms, priority=7)

    claimed = lane.claim(1)

    assert ids(claimed.claims) == ["first"]
    assert claimed.next_delayed_ms == lane.now_ms + 1
    assert lane.ids("delayed") == ["late"]
    assert lane.ids("wait") == ["second"]
    assert lane.scores("prioritized") == {"prio": 7 * 2**32 + 1}
    assert lane.job("second")["delay"] == "0"
    assert [(e["event"], e["jobId"], e["prev"]) for e in lane.events()] == [
        ("waiting", "first", "delayed"),
        ("waiting", "prio", "delayed"),
        ("waiting", "second", "delayed"),
        ("active", "first", "waiting"),
    ]


def test_paused_queue_promotes_but_gives_nothing(lane: Lane) -> None:
    lane.client.hset(lane.key("meta"), "paused", 1)
    lane.client.rpush(lane.key("paused"), lane.store("legacy"))
    lane.delay("due", lane.now_ms)

    claimed = lane.claim()

    assert claimed.gated
    assert claimed.claims == ()
    assert lane.ids("wait") == ["due"]
    assert lane.ids("paused") == ["legacy"]
    assert lane.scores("marker") == {}


def test_paused_queue_without_due_jobs_changes_nothing(lane: Lane) -> None:
    lane.wait("1")
    lane.client.hset(lane.key("meta"), "paused", 1)
    with unchanged_keyspace(lane.client):
        assert lane.claim().gated


def test_global_concurrency_bounds_active(lane: Lane) -> None:
    lane.client.hset(lane.key("meta"), "concurrency", 2)
    for n in range(4):
        lane.wait(f"j{n}")
    claimed = lane.claim(4)
    assert ids(claimed.claims) == ["j0", "j1"]
    assert claimed.gated
    assert lane.scores("marker") == {"0": 0}


def test_child_of_a_flow_and_owner_of_a_deduplication_id_are_claimed(lane: Lane) -> None:
    lane.wait("child", parentKey="bull:other:p")
    lane.wait("owner", deid="d", opts='{"de":{"id":"d","keepLastIfActive":true}}')
    assert ids(lane.claim(2).claims) == ["child", "owner"]


def test_ghosts_and_old_markers_are_removed(lane: Lane) -> None:
    lane.client.lpush(lane.key("wait"), "ghost", "0:123")
    lane.client.set(lane.key("string"), "no job")
    lane.client.lpush(lane.key("wait"), "string")
    lane.wait("real")
    lane.client.zadd(lane.key("prioritized"), {"ghost2": 1})

    claimed = lane.claim(5)

    assert ids(claimed.claims) == ["real"]
    assert claimed.ghosts == 4
    assert lane.ids("active") == ["real"]
    assert lane.ids("wait") == lane.ids("prioritized") == []
    assert not lane.client.exists(lane.key("ghost"))
    assert lane.client.get(lane.key("string")) == b"no job"


def test_too_many_ghosts_end_the_call_not_the_queue(lane: Lane) -> None:
    lane.client.lpush(lane.key("wait"), *(f"g{n}" for n in range(150)))
    lane.wait("real")
    first = lane.claim()
    assert (first.ghosts, first.claims, first.more) == (100, (), True)
    assert ids(lane.claim().claims) == ["real"]


def test_oversized_data_is_claimed_but_not_read(lane: Lane) -> None:
    lane.wait("1", data="x" * (MAX_DATA_BYTES + 1))
    (claim,) = lane.claim().claims
    assert claim.data == b"{}"
    assert (
        claim.unreadable
        == f"job data are {MAX_DATA_BYTES + 1} bytes; at most {MAX_DATA_BYTES} are read"
    )


def test_oversized_options_are_claimed_but_not_read(lane: Lane) -> None:
    lane.wait("1", opts='{"x":"' + "x" * MAX_OPTS_BYTES + '"}')
    (claim,) = lane.claim().claims
    assert claim.raw_opts == b"{}"
    assert f"at most {MAX_OPTS_BYTES} are read" in (claim.unreadable or "")


def test_broken_options_make_the_claim_unreadable(lane: Lane) -> None:
    lane.wait("1", opts="nonsense")
    (claim,) = lane.claim().claims
    assert "options" in (claim.unreadable or "")


def test_broken_counters_count_as_nothing(lane: Lane) -> None:
    lane.wait("1", ats="many", atm="", priority="x", timestamp="?")
    (claim,) = lane.claim().claims
    assert (claim.attempts_started, claim.attempts_made, claim.timestamp_ms) == (1, 0, 0)


def test_deferred_failure_comes_along(lane: Lane) -> None:
    lane.wait("1", defa="job stalled more than allowable limit")
    (claim,) = lane.claim().claims
    assert claim.deferred_failure == "job stalled more than allowable limit"


def test_bullmq_rate_limit_binds_us(lane: Lane) -> None:
    lane.client.hset(lane.key("meta"), mapping={"max": 2, "duration": 5000})
    lane.wait("failed-before", defa="x")
    for n in range(4):
        lane.wait(f"j{n}")

    claimed = lane.claim(5)

    assert ids(claimed.claims) == ["failed-before", "j0", "j1"]
    assert 0 < claimed.limit_ttl_ms <= 5000
    assert lane.client.get(lane.key("limiter")) == b"2"
    with unchanged_keyspace(lane.client):
        assert lane.claim().limit_ttl_ms > 0


def test_limiter_without_expiry_does_not_block(lane: Lane) -> None:
    lane.client.hset(lane.key("meta"), mapping={"max": 1, "duration": 1000})
    lane.client.set(lane.key("limiter"), 9)
    lane.wait("1")
    assert ids(lane.claim().claims) == ["1"]


def test_limiter_in_its_last_millisecond_still_binds(lane: Lane) -> None:
    """What passed then would be counted by a key that is about to go: in no window."""
    lane.client.hset(lane.key("meta"), mapping={"max": 2, "duration": 3})
    for n in range(1000):
        lane.wait(f"j{n}")
    for _ in range(300):
        lane.claim(3)
        assert int(lane.client.get(lane.key("limiter")) or 0) <= 2


def test_max_without_duration_does_not_break_the_claim(lane: Lane) -> None:
    lane.client.hset(lane.key("meta"), "max", 1)
    lane.wait("1")
    lane.wait("2")
    assert ids(lane.claim(2).claims) == ["1", "2"]
    assert not lane.client.exists(lane.key("limiter"))


@pytest.mark.parametrize("name", ["active", "marker", "events", "delayed", "prioritized", "meta"])
def test_taken_key_refuses_before_anything_is_written(lane: Lane, name: str) -> None:
    lane.wait("1")
    lane.client.set(lane.key(name), "a job id took this key")
    with unchanged_keyspace(lane.client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        lane.claim()


def test_claim_uses_the_servers_clock_when_none_is_given(lane: Lane) -> None:
    lane.wait("1")
    command = claim_jobs(lane.base, ClaimRequest(1, LOCK_MS), ["t:1"])
    seconds, us = lane.client.time()
    (claim,) = lane.run(command).claims
    assert 0 <= claim.processed_on_ms - (seconds * 1000 + us // 1000) < 5000


def test_claim_is_allowed_on_a_full_server(lane: Lane) -> None:
    lane.wait("1")
    lane.client.config_set("maxmemory", 1)
    try:
        assert ids(lane.claim().claims) == ["1"]
    finally:
        lane.client.config_set("maxmemory", 0)


def test_snapshot_sees_a_claim(lane: Lane) -> None:
    """The refusals above can fail: the comparison they rest on notices a claim."""
    lane.wait("1")
    before = snapshot(lane.client)
    lane.claim()
    assert snapshot(lane.client) != before
