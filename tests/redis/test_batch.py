"""Many completions in one call: each for itself, as if they had come one by one."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from redis.exceptions import ResponseError

from tests.support.keyspace import snapshot, unchanged_keyspace
from tests.support.lane import LOCK_MS, RETURNED, Lane
from toril.call import Verdict
from toril.runtime.claim import Claim, Claimed, ClaimRequest
from toril.runtime.claiming import claim_jobs
from toril.runtime.options import KeepRule
from toril.runtime.retry import Complete, Fail, GiveBack
from toril.runtime.settling import MAX_BATCH, MAX_BATCH_BYTES, Ending, Settled, settle_all

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

DONE, LOST, ALREADY = Settled.DONE, Settled.LOST, Settled.ALREADY
KEPT = {
    "all": KeepRule(),
    "none": KeepRule(count=0),
    "two": KeepRule(count=2),
    "young": KeepRule(age_s=5),
}


def taken(lane: Lane, *ids: str, **fields: Any) -> list[Claim]:
    """These jobs, claimed in this order; the events so far are forgotten."""
    for job_id in ids:
        lane.wait(job_id, **fields)
    claims = lane.claim(len(ids)).claims
    lane.client.delete(lane.key("events"), lane.key("marker"))
    return list(claims)


def complete(lane: Lane, claims: list[Claim], rules: Complete | None = None) -> list[Any]:
    """What one call answers."""
    endings = [Ending(claim, rules or Complete(), RETURNED) for claim in claims]
    (batch,) = settle_all(lane.base, endings, now_ms=lane.now_ms)
    results: list[Any] = lane.run(batch.command)
    return results


def completed_events(*ids: str) -> list[dict[str, str]]:
    return [
        {"event": "completed", "jobId": job_id, "returnvalue": '{"ok":1}', "prev": "active"}
        for job_id in ids
    ]


# -- as one by one


def plain(lane: Lane) -> list[Claim]:
    return taken(lane, "a", "b", "c", "d")


def with_marks(lane: Lane) -> list[Claim]:
    marks = {"t:checkpoint": "1", "t:cancel": "1", "t:history": '{"attempt":1}', "atm": 3}
    claims = taken(lane, "a", "b", "c", **marks)
    lane.client.sadd(lane.key("stalled"), "a", "c", "other")
    return claims


def with_older(lane: Lane) -> list[Claim]:
    for number in range(4):
        lane.store(f"old{number}", finishedOn=1)
        lane.client.zadd(lane.key("completed"), {f"old{number}": lane.now_ms - 9000 + number})
    return taken(lane, "a", "b", "c")


def family(lane: Lane) -> list[Claim]:
    """Two children of one parent that waits, and one of a parent that ends in the same call."""
    claims = taken(lane, "a", "b", "c", "p")
    lane.store("dad", parent="")
    lane.client.zadd(lane.key("waiting-children"), {"dad": 1})
    for child, parent in (("a", "dad"), ("b", "dad"), ("c", "p")):
        lane.client.hset(lane.key(child), "parentKey", lane.key(parent))
        lane.client.sadd(lane.key(f"{parent}:dependencies"), lane.key(child))
    return claims


def deduplicated(lane: Lane) -> list[Claim]:
    """The first is followed by a job, which becomes a child of the last."""
    claims = taken(lane, "a", "b", "c")
    lane.client.hset(lane.key("a"), "deid", "d")
    lane.client.set(lane.key("de:d"), "a")
    lane.client.hset(
        lane.key("dn:d"),
        mapping={
            "name": "n",
            "jid": "next",
            "pk": lane.key("c"),
            "pdk": lane.key("c:dependencies"),
        },
    )
    return claims


@pytest.mark.parametrize("rule", KEPT)
@pytest.mark.parametrize("make", [plain, with_marks, with_older, family, deduplicated])
def test_one_call_leaves_what_as_many_calls_leave(
    lane: Lane, rule: str, make: Callable[[Lane], list[Claim]]
) -> None:
    rules = Complete(KEPT[rule], metrics_size=10)
    alone = [complete(lane, [claim], rules)[0] for claim in make(lane)]
    events, expected = lane.events(), snapshot(lane.client)
    lane.client.flushall()
    lane.tokens.clear()

    together = complete(lane, make(lane), rules)

    found = snapshot(lane.client)
    assert together == alone
    assert lane.events() == events
    for state in (expected, found):
        state.pop("bull:lane:events", None)  # compared above: ids of its entries are times
    assert found == expected


# -- each for itself


def test_each_job_is_answered_in_order_and_drained_is_told_once(lane: Lane) -> None:
    claims = taken(lane, "a", "b", "c")
    lane.client.set(lane.key("b:lock"), "somebody else")
    assert complete(lane, claims) == [DONE, LOST, DONE]
    assert lane.ids("active") == ["b"]
    assert lane.ids("completed") == ["a", "c"]
    assert lane.events() == completed_events("a", "c")

    lane.client.set(lane.key("b:lock"), claims[1].token)
    assert complete(lane, [claims[1]]) == [DONE]
    assert lane.event_names()[-2:] == ["completed", "drained"]


@pytest.mark.parametrize(
    ("key", "prepare"),
    [
        ("b:dependencies", lambda client, key: client.set(key, "taken")),
        ("b:unsuccessful", lambda client, key: client.lpush(key, "taken")),
    ],
    ids=["dependencies", "unsuccessful"],
)
def test_error_of_one_job_is_its_own_and_leaves_it_as_it_was(
    lane: Lane, key: str, prepare: Callable[[redis.Redis, str], object]
) -> None:
    claims = taken(lane, "a", "b", "c")
    prepare(lane.client, lane.key(key))
    before = lane.job("b")
    first, broken, last = complete(lane, claims)
    assert (first, last) == (DONE, DONE)
    assert isinstance(broken, ResponseError)
    assert lane.key(key) in str(broken)
    assert lane.job("b") == before
    assert lane.client.get(lane.key("b:lock")) == claims[1].token.encode()
    assert lane.ids("active") == ["b"]


def test_broken_queue_of_a_parent_is_its_childs_error_alone(lane: Lane) -> None:
    claims = taken(lane, "a", "b")
    lane.client.hset(lane.key("a"), "parentKey", "bull:dads:1")
    lane.client.set("bull:dads:wait", "taken")
    before = lane.job("a")
    broken, done = complete(lane, claims)
    assert isinstance(broken, ResponseError)
    assert done is DONE
    assert lane.job("a") == before


def test_job_that_stands_twice_in_a_call_ends_once(lane: Lane) -> None:
    first, second = taken(lane, "a", "b")
    stranger = Claim("a", "no:1", "n")
    assert complete(lane, [first, first, second, stranger]) == [DONE, ALREADY, DONE, LOST]
    assert lane.event_names() == ["completed", "completed", "drained"]
    assert lane.job("a")["atm"] == "1"


def test_call_that_ends_nothing_changes_nothing(lane: Lane) -> None:
    claims = taken(lane, "a", "b", "c", "d")
    lane.client.set(lane.key("a:lock"), "somebody else")
    lane.client.lrem(lane.key("active"), 0, "b")
    lane.client.delete(lane.key("c"))
    lane.client.sadd(lane.key("d:dependencies"), "x")
    with unchanged_keyspace(lane.client):
        assert complete(lane, claims) == [LOST, LOST, Settled.GONE, Settled.PENDING_CHILDREN]


def test_whole_call_again_changes_nothing(lane: Lane) -> None:
    claims = taken(lane, "a", "b", "c")
    complete(lane, claims)
    with unchanged_keyspace(lane.client):
        assert complete(lane, claims) == [ALREADY] * 3


def test_repeat_of_jobs_that_are_not_kept_finds_them_gone(lane: Lane) -> None:
    claims, rules = taken(lane, "a", "b"), Complete(KeepRule(count=0))
    assert complete(lane, claims, rules) == [DONE, DONE]
    with unchanged_keyspace(lane.client):
        assert complete(lane, claims, rules) == [Settled.GONE] * 2


@pytest.mark.parametrize("name", ["active", "wait", "events", "meta", "stalled", "completed"])
def test_taken_key_of_the_queue_refuses_all(lane: Lane, name: str) -> None:
    claims = taken(lane, "a", "b")
    lane.client.delete(lane.key(name))
    lane.client.set(lane.key(name), "taken")
    with unchanged_keyspace(lane.client):
        results = complete(lane, claims)
    assert [type(result) for result in results] == [ResponseError] * 2


# -- which endings share a call


def sizes(*endings: Ending) -> list[int]:
    return [batch.size for batch in settle_all("b:", endings)]


NUMBERS = itertools.count()


def ending(settlement: Any = None, value: bytes = b"1") -> Ending:
    claim = Claim(f"{next(NUMBERS)}", "t:1", "n")
    return Ending(claim, settlement or Complete(), replace(RETURNED, value=value))


def test_what_ends_otherwise_ends_in_its_turn() -> None:
    assert sizes(ending(), ending(), ending(Fail("x")), ending(), ending(GiveBack())) == [
        2,
        1,
        1,
        1,
    ]


def test_differing_rules_are_not_mixed() -> None:
    other = Complete(KeepRule(count=5))
    unlike = ending()
    unlike = replace(unlike, outcome=replace(unlike.outcome, verdict=Verdict.EXITED))
    assert sizes(ending(), ending(other), ending(other), ending(), unlike) == [1, 2, 1, 1]


def test_call_is_bounded_by_count_and_by_bytes() -> None:
    assert sizes(*(ending() for _ in range(MAX_BATCH + 3))) == [MAX_BATCH, 3]
    half = b"x" * (MAX_BATCH_BYTES // 2)
    whole = b"x" * (MAX_BATCH_BYTES * 2)
    assert sizes(*(ending(value=one) for one in (half, half, half, whole, b"1"))) == [2, 1, 1, 1]
    assert sizes() == []


# -- what a claim takes at once


def claim_of(lane: Lane, count: int, free: int) -> Claimed:
    request = ClaimRequest(count, LOCK_MS, free=free)
    tokens = [f"t:{n}" for n in range(count)]
    claimed: Claimed = lane.run(claim_jobs(lane.base, request, tokens, now_ms=lane.now_ms))
    return claimed


def test_of_a_shared_concurrency_nobody_takes_what_only_stands_in_line(lane: Lane) -> None:
    """Another worker has a child free for it."""
    lane.client.hset(lane.key("meta"), "concurrency", 3)
    for job_id in "abcde":
        lane.wait(job_id)
    first, second = claim_of(lane, 5, free=2), claim_of(lane, 5, free=0)
    assert [claim.id for claim in first.claims] == ["a", "b"]
    assert first.gated
    assert second.claims == ()
    assert second.gated
    assert not second.more


def test_a_claim_of_large_jobs_stops_and_asks_again(lane: Lane) -> None:
    """One reply must not be late because it is long; a single job is taken whatever its size."""
    for job_id in "abc":
        lane.wait(job_id, data=f'"{"x" * 700_000}"')
    claimed = claim_of(lane, 3, free=3)
    assert [claim.id for claim in claimed.claims] == ["a", "b"]
    assert claimed.more


def test_keep_rules_remove_as_much_for_a_batch_as_for_each_job(lane: Lane) -> None:
    """With a small limit, too: else the completed jobs of a busy queue would only grow."""
    rule = Complete(KeepRule(age_s=1, limit=2))
    old = taken(lane, *(f"old{n}" for n in range(30)))
    complete(lane, old)
    lane.now_ms += 5_000
    complete(lane, taken(lane, *(f"new{n}" for n in range(10))), rule)
    assert lane.client.zcard(lane.key("completed")) == 30 + 10 - 2 * 10
