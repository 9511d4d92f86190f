"""sweep.lua: jobs of workers that went away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from tests.support.keyspace import unchanged_keyspace
from toril.runtime.claiming import renew_locks, sweep_stalled

if TYPE_CHECKING:
    from tests.support.lane import Lane

INTERVAL_MS = 30_000


def sweep(lane: Lane, max_stalled: int = 1) -> list[str]:
    """One sweep, whatever the time since the last."""
    lane.client.delete(lane.key("stalled-check"))
    command = sweep_stalled(lane.base, max_stalled, INTERVAL_MS, now_ms=lane.now_ms)
    recovered: list[str] = lane.run(command)
    return recovered


def abandon(lane: Lane, job_id: str = "1", **fields: object) -> None:
    """A job that was claimed, marked by a sweep, and whose lock ran out."""
    lane.claim_new(job_id, **fields)
    lane.client.delete(lane.key(f"{job_id}:lock"))
    lane.client.sadd(lane.key("stalled"), job_id)


def test_first_sweep_suspects_the_second_recovers(lane: Lane) -> None:
    lane.claim_new()
    lane.wait("waiting")
    lane.client.delete(lane.key("1:lock"))

    assert sweep(lane) == []
    assert lane.client.smembers(lane.key("stalled")) == {b"1"}
    assert sweep(lane) == ["1"]

    assert lane.ids("wait") == ["waiting", "1"]
    assert lane.ids("active") == []
    job = lane.job("1")
    assert job["stc"] == "1"
    assert "defa" not in job
    assert "atm" not in job
    assert lane.events() == [
        {"event": "waiting", "jobId": "1", "prev": "active"},
        {"event": "stalled", "jobId": "1"},
    ]
    assert lane.scores("marker") == {"0": 0}


def test_renewed_job_is_never_recovered(lane: Lane) -> None:
    claim = lane.claim_new()
    sweep(lane)
    lane.run(renew_locks(lane.base, [claim], 1000))
    assert sweep(lane) == []
    assert lane.ids("active") == ["1"]


def test_locked_suspect_stays(lane: Lane) -> None:
    lane.claim_new()
    lane.client.sadd(lane.key("stalled"), "1")
    assert sweep(lane) == []
    assert lane.ids("active") == ["1"]


def test_job_that_the_sweeper_itself_holds_is_left_for_its_renewal(lane: Lane) -> None:
    """After an outage every lock has run out; the sweep may come before the renewal."""
    abandon(lane, "held")
    abandon(lane, "other")
    lane.client.delete(lane.key("stalled-check"))
    recovered = lane.run(sweep_stalled(lane.base, 1, INTERVAL_MS, ["held"], now_ms=lane.now_ms))
    assert recovered == ["other"]
    assert lane.ids("active") == ["held"]
    assert lane.client.smembers(lane.key("stalled")) == {b"held"}


def test_job_that_stalled_too_often_goes_back_to_be_failed(lane: Lane) -> None:
    abandon(lane, stc=1)
    assert sweep(lane) == ["1"]
    assert lane.job("1")["defa"] == "job stalled more than allowable limit"
    assert lane.ids("wait") == ["1"]


@pytest.mark.parametrize("kind", ["hash", "zset"])
def test_job_of_a_living_scheduler_never_fails_for_stalling(lane: Lane, kind: str) -> None:
    if kind == "hash":
        lane.client.hset(lane.key("repeat:s"), "name", "s")
    else:
        lane.client.zadd(lane.key("repeat"), {"s": 1})
    lane.client.lpush(lane.key("active"), lane.store("1", rjk="s", stc=5))
    lane.client.sadd(lane.key("stalled"), "1")
    sweep(lane)
    assert "defa" not in lane.job("1")


@pytest.mark.parametrize("schedulers", ["none", "foreign"])
def test_job_of_a_dead_scheduler_fails_for_stalling(lane: Lane, schedulers: str) -> None:
    if schedulers == "foreign":
        lane.client.set(lane.key("repeat"), "taken")
    lane.client.lpush(lane.key("active"), lane.store("1", rjk="s", stc=5))
    lane.client.sadd(lane.key("stalled"), "1")
    sweep(lane)
    assert "defa" in lane.job("1")


def test_settled_suspect_is_left_where_it_is(lane: Lane) -> None:
    lane.store("1")
    lane.client.sadd(lane.key("stalled"), "1")
    assert sweep(lane) == []
    assert lane.ids("wait") == []


def test_suspect_without_a_job_only_leaves_active(lane: Lane) -> None:
    abandon(lane)
    lane.client.delete(lane.key("1"))
    lane.client.set(lane.key("odd"), "text")
    lane.client.lpush(lane.key("active"), "0:7", "odd")
    lane.client.sadd(lane.key("stalled"), "0:7", "odd")
    assert sweep(lane) == []
    assert lane.ids("active") == []
    assert not lane.client.exists(lane.key("1"))


def test_one_sweep_per_interval(lane: Lane) -> None:
    abandon(lane)
    lane.client.set(lane.key("stalled-check"), 1, px=INTERVAL_MS)
    command = sweep_stalled(lane.base, 1, INTERVAL_MS)
    with unchanged_keyspace(lane.client):
        assert lane.run(command) == []
    assert sweep(lane) == ["1"]
    assert lane.client.get(lane.key("stalled-check")) == str(lane.now_ms).encode()
    assert 0 < lane.client.pttl(lane.key("stalled-check")) <= INTERVAL_MS


@pytest.mark.parametrize("found", ["1", ["list"]])
def test_mark_of_a_sweep_that_never_ends_is_none(lane: Lane, found: object) -> None:
    abandon(lane)
    key = lane.key("stalled-check")
    lane.client.rpush(key, *found) if isinstance(found, list) else lane.client.set(key, found)
    assert lane.run(sweep_stalled(lane.base, 1, INTERVAL_MS)) == ["1"]
    assert 0 < lane.client.pttl(key) <= INTERVAL_MS


def test_every_active_job_is_suspected_however_many(lane: Lane) -> None:
    lane.client.rpush(lane.key("active"), *(f"j{n}" for n in range(2500)))
    sweep(lane)
    assert lane.client.scard(lane.key("stalled")) == 2500


def test_taken_key_refuses_before_anything_is_written(lane: Lane) -> None:
    abandon(lane)
    lane.client.delete(lane.key("wait"))
    lane.client.set(lane.key("wait"), "taken")
    with unchanged_keyspace(lane.client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        sweep(lane)
