"""renew.lua and adopt.lua: keeping what is ours, and finding it after a lost reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis
from msgspec.structs import replace

from tests.support.keyspace import unchanged_keyspace
from toril.runtime.claim import Renewed
from toril.runtime.claiming import adopt_jobs, renew_locks

if TYPE_CHECKING:
    from tests.support.lane import Lane


def test_renewing_lengthens_every_lock_and_clears_suspicion(lane: Lane) -> None:
    claims = [lane.claim_new(job_id) for job_id in ("a", "b")]
    lane.client.sadd(lane.key("stalled"), "a", "b")
    assert lane.run(renew_locks(lane.base, claims, 90_000)) == Renewed()
    for claim in claims:
        assert lane.client.pttl(lane.key(f"{claim.id}:lock")) > 80_000
    assert lane.client.scard(lane.key("stalled")) == 0


def test_lapsed_lock_is_retaken(lane: Lane) -> None:
    claim = lane.claim_new()
    lane.client.delete(lane.key("1:lock"))
    assert lane.run(renew_locks(lane.base, [claim], 90_000)) == Renewed()
    assert lane.client.get(lane.key("1:lock")) == claim.token.encode()


def test_every_way_to_lose_a_job_is_noticed_and_changes_nothing(lane: Lane) -> None:
    claims = {
        name: lane.claim_new(name) for name in ("stolen", "moved", "restarted", "gone", "odd")
    }
    lane.client.set(lane.key("stolen:lock"), "somebody else")
    for name in ("moved", "restarted", "gone", "odd"):
        lane.client.delete(lane.key(f"{name}:lock"))
    lane.client.lrem(lane.key("active"), 0, "moved")
    lane.client.hincrby(lane.key("restarted"), "ats", 1)
    lane.client.delete(lane.key("gone"), lane.key("odd"))
    lane.client.set(lane.key("odd"), "text")
    with unchanged_keyspace(lane.client):
        renewed = lane.run(renew_locks(lane.base, list(claims.values()), 90_000))
    assert renewed == Renewed(lost=tuple(claims.values()))


def test_lost_is_a_claim_not_a_job(lane: Lane) -> None:
    """The same job may be held under an old and a new token."""
    claim = lane.claim_new()
    old = replace(claim, token="old")
    assert lane.run(renew_locks(lane.base, [old, claim], 90_000)) == Renewed(lost=(old,))


def test_taken_key_refuses_before_anything_is_written(lane: Lane) -> None:
    claim = lane.claim_new()
    lane.client.set(lane.key("stalled"), "taken")
    with unchanged_keyspace(lane.client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        lane.run(renew_locks(lane.base, [claim], 90_000))


def test_adoption_finds_the_jobs_of_the_given_tokens_in_order(lane: Lane) -> None:
    claims = [lane.claim_new(job_id, data='{"x":1}') for job_id in ("a", "b", "c")]
    tokens = [claims[2].token, claims[0].token, "never used"]
    with unchanged_keyspace(lane.client):
        adopted = lane.run(adopt_jobs(lane.base, tokens))
    assert adopted == [claims[0], claims[2]]
