"""claim.lua and the next job of a schedule; what Node leaves is compared in tests/interop."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.keyspace import unchanged_keyspace
from tests.support.lane import LOCK_MS, RAISED, Lane
from toril.runtime import store as store_module
from toril.runtime.claim import Claimed, ClaimRequest, Slot
from toril.runtime.claiming import claim_jobs, slot_after
from toril.runtime.retry import Retry
from toril.runtime.store import Store
from toril.sizes import MAX_OPTS_BYTES

EVERY = {"every": 1000, "count": 1}
PATTERN = {"pattern": "0 0 * * *", "tz": "UTC", "count": 1}


def plan(lane: Lane, repeat: dict[str, Any], at_ms: int | None = None, **hash_: Any) -> str:
    """The current job of schedule `s`, waiting; its id."""
    at_ms = lane.now_ms if at_ms is None else at_ms
    known = {"name": "tick", "ic": 1} | {k: v for k, v in repeat.items() if k != "count"} | hash_
    lane.client.hset(lane.key("repeat:s"), mapping=known)
    lane.client.zadd(lane.key("repeat"), {"s": at_ms})
    opts = {"repeat": repeat, "attempts": 3, "jobId": "old"}
    return lane.wait(f"repeat:s:{at_ms}", rjk="s", opts=json.dumps(opts))


def claim_with(lane: Lane, slot: Slot | None) -> Claimed:
    request = ClaimRequest(1, LOCK_MS)
    return lane.run(claim_jobs(lane.base, request, ["t:1"], slot=slot, now_ms=lane.now_ms))


def test_claim_adds_the_next_job_of_an_interval(lane: Lane) -> None:
    plan(lane, EVERY, data='{"a":1}')
    (claim,) = lane.claim().claims
    assert claim.id == f"repeat:s:{lane.now_ms}"
    next_ms = lane.now_ms + 1000
    job = lane.job(f"repeat:s:{next_ms}")
    assert (job["name"], job["data"], job["rjk"]) == ("tick", '{"a":1}', "s")
    assert (job["timestamp"], job["delay"]) == (str(lane.now_ms), "1000")
    assert json.loads(job["opts"]) == {
        "attempts": 3,
        "delay": 1000,
        "jobId": f"repeat:s:{next_ms}",
        "repeat": {"every": 1000, "count": 2},
        "repeatJobKey": "s",
        "timestamp": lane.now_ms,
    }
    assert lane.scores("repeat") == {"s": next_ms}
    assert lane.job("repeat:s")["ic"] == "2"
    assert lane.scores("delayed") == {f"repeat:s:{next_ms}": next_ms * 4096}
    assert lane.event_names() == ["active", "added", "delayed"]


@pytest.mark.parametrize(
    ("late_ms", "offset", "expected_ms"),
    [(0, 0, 1000), (999, 0, 1000), (1000, 0, 1000), (1001, 0, 2000), (5500, 0, 6000),
     (5500, 700, 5700), (5500, 300, 6300)],
)  # fmt: skip
def test_missed_slots_are_skipped(lane: Lane, late_ms: int, offset: int, expected_ms: int) -> None:
    start_ms = lane.now_ms
    plan(lane, EVERY, offset=offset)
    lane.now_ms += late_ms
    lane.claim()
    assert lane.scores("repeat") == {"s": start_ms + expected_ms}


def test_next_slot_that_is_now_runs_at_once(lane: Lane) -> None:
    plan(lane, EVERY)
    lane.now_ms += 1000
    lane.claim()
    assert lane.ids("wait") == [f"repeat:s:{lane.now_ms}"]


def test_retry_makes_no_second_one(lane: Lane) -> None:
    plan(lane, EVERY)
    (claim,) = lane.claim().claims
    lane.settle(claim, Retry("boom", 0), RAISED)
    lane.client.delete(lane.key("events"))
    lane.claim()
    assert lane.event_names() == ["active"]
    assert lane.job("repeat:s")["ic"] == "2"


def test_job_that_is_there_already_is_said_to_be(lane: Lane) -> None:
    plan(lane, EVERY)
    lane.store(f"repeat:s:{lane.now_ms + 1000}")
    lane.claim()
    assert lane.event_names() == ["active", "duplicated"]
    assert lane.scores("repeat") == {"s": lane.now_ms}


@pytest.mark.parametrize("repeat", [EVERY, PATTERN], ids=["every", "pattern"])
@pytest.mark.parametrize("end", [{"limit": 1}, {"endDate": 5}], ids=str)
def test_limit_and_end_stop_it_where_it_stands(
    lane: Lane, repeat: dict[str, Any], end: dict[str, int]
) -> None:
    plan(lane, repeat | end)
    assert lane.claim().claims
    assert lane.scores("repeat") == {"s": lane.now_ms}
    assert lane.ids("delayed") == []


def test_removed_schedule_has_no_more(lane: Lane) -> None:
    plan(lane, EVERY)
    lane.client.delete(lane.key("repeat"), lane.key("repeat:s"))
    assert lane.claim().claims
    assert lane.ids("delayed") == []


@pytest.mark.parametrize(("scheduler", "goes_on"), [("a:b:5:c:5", False), ("a:b:x:c:5", True)])
def test_entry_of_the_old_repeatable_jobs_does_not_go_on(
    lane: Lane, scheduler: str, *, goes_on: bool
) -> None:
    job_id = f"repeat:{scheduler}:{lane.now_ms}"
    lane.client.zadd(lane.key("repeat"), {scheduler: lane.now_ms})
    lane.wait(job_id, rjk=scheduler, opts=json.dumps({"repeat": EVERY}))
    assert lane.claim().claims
    assert bool(lane.ids("delayed")) is goes_on


@pytest.mark.parametrize("key", ["repeat", "repeat:s"])
def test_foreign_key_ends_the_schedule_and_not_the_claim(lane: Lane, key: str) -> None:
    plan(lane, EVERY)
    lane.client.delete(lane.key(key))
    lane.client.set(lane.key(key), "foreign")
    assert lane.claim().claims
    assert lane.ids("delayed") == []


@pytest.mark.parametrize("opts", ["no json", "[]", '"' + "x" * MAX_OPTS_BYTES + '"'])
def test_job_whose_options_cannot_be_read_is_claimed_all_the_same(lane: Lane, opts: str) -> None:
    job_id = plan(lane, EVERY)
    lane.client.hset(lane.key(job_id), "opts", opts)
    (claim,) = lane.claim().claims
    assert claim.unreadable


@pytest.mark.parametrize(
    "more", ['"x": 1e999', '"x": -1e999', '"priority": "nan"', '"delay": "inf"']
)
def test_options_that_cannot_be_written_again_do_not_break_the_claim(lane: Lane, more: str) -> None:
    """Half a claim would be a job that is active without an owner."""
    job_id = plan(lane, EVERY)
    opts = lane.job(job_id)["opts"]
    lane.client.hset(lane.key(job_id), "opts", f"{opts[:-1]}, {more}}}")
    assert [claim.id for claim in lane.claim().claims] == [job_id]
    assert bool(lane.ids("delayed")) is ("e999" not in more)


@pytest.mark.parametrize("every", ["inf", "nan", "1e300", "0.25", "seven"])
def test_odd_interval_does_not_break_the_claim(lane: Lane, every: str) -> None:
    job_id = plan(lane, EVERY, every=every)
    lane.run(claim_jobs(lane.base, ClaimRequest(1, LOCK_MS), ["t:1"], now_ms=lane.now_ms))
    assert lane.client.get(lane.key(f"{job_id}:lock")) == b"t:1"


# -- cron patterns


def test_pattern_stops_the_claim_until_its_slot_is_known(lane: Lane) -> None:
    job_id = plan(lane, PATTERN)
    lane.wait("behind")
    with unchanged_keyspace(lane.client):
        claimed = lane.claim(2)
    assert claimed.due is not None
    assert (claimed.claims, claimed.due.id, claimed.more) == ((), job_id, True)
    slot = slot_after(claimed)
    assert slot is not None
    assert slot.at_ms is not None
    assert slot.at_ms % 86_400_000 == 0
    (claim,) = claim_with(lane, slot).claims
    assert (claim.id, claim.unreadable) == (job_id, None)
    opts = json.loads(lane.job(f"repeat:s:{slot.at_ms}")["opts"])
    assert (opts["prevMillis"], opts["repeat"]["count"]) == (slot.at_ms, 2)
    assert lane.scores("repeat") == {"s": slot.at_ms}


def test_slot_of_another_job_is_not_taken(lane: Lane) -> None:
    plan(lane, PATTERN)
    with unchanged_keyspace(lane.client):
        assert claim_with(lane, Slot("repeat:s:1", lane.now_ms)).due is not None


def test_job_of_a_pattern_that_cannot_be_read_fails_with_the_reason(lane: Lane) -> None:
    job_id = plan(lane, PATTERN | {"pattern": "now and then"})
    slot = slot_after(claim_with(lane, None))
    (claim,) = claim_with(lane, slot).claims
    assert claim.id == job_id
    assert "now and then" in (claim.unreadable or "")
    assert lane.ids("delayed") == []


def test_options_that_are_too_large_are_not_read_for_their_pattern(lane: Lane) -> None:
    job_id = plan(lane, PATTERN)
    opts = json.dumps({"repeat": PATTERN, "x": "x" * MAX_OPTS_BYTES})
    lane.client.hset(lane.key(job_id), "opts", opts)
    claimed = claim_with(lane, None)
    assert claimed.due is not None
    assert claimed.due.opts == b""
    (claim,) = claim_with(lane, slot_after(claimed)).claims
    assert "at most" in (claim.unreadable or "")


def test_pattern_without_a_further_time_ends(lane: Lane) -> None:
    plan(lane, PATTERN | {"endDate": lane.now_ms + 1})
    (claim,) = claim_with(lane, slot_after(claim_with(lane, None))).claims
    assert claim.unreadable is None
    assert lane.ids("delayed") == []


async def test_store_comes_back_with_the_slot_by_itself(lane: Lane, redis_url: str) -> None:
    for _ in range(2):
        plan(lane, PATTERN, at_ms=lane.now_ms)
        lane.now_ms += 1
    store = Store(redis_url, "bull", "lane")
    await store.open()
    try:
        want, ids = ClaimRequest(2, LOCK_MS), []
        for _ in range(3):
            claimed = (await store.exchange(want=want)).claimed
            assert isinstance(claimed, Claimed)
            ids += [claim.id for claim in claimed.claims]
    finally:
        await store.close()
    assert ids == [f"repeat:s:{lane.now_ms - 2}", f"repeat:s:{lane.now_ms - 1}"]


async def test_slot_that_is_old_by_now_is_asked_for_anew(
    lane: Lane, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was full in the meantime: its slot may have passed."""
    plan(lane, PATTERN)
    monkeypatch.setattr(store_module, "SLOT_AGE_S", -1.0)
    store = Store(redis_url, "bull", "lane")
    await store.open()
    try:
        for _ in range(2):
            claimed = (await store.exchange(want=ClaimRequest(1, LOCK_MS))).claimed
            assert isinstance(claimed, Claimed)
            assert claimed.due is not None
    finally:
        await store.close()
