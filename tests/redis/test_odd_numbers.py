"""Numbers that other programs have stored: whatever they hold, no script ends half-way on them.

A script that ends in an error keeps what it has written until then: a job that is in no list, or
active without an owner.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.lane import RAISED, RETURNED, Lane
from toril.runtime.asking import Cancellation, cancel_job
from toril.runtime.retry import Complete, Fail, Retry
from toril.runtime.settling import Settled
from toril.runtime.ties import Deduplication

if TYPE_CHECKING:
    from toril.runtime.claim import Claim

ODD = ["nan", "-nan", "inf", "-inf", "1e300", "0x10", "1e17", "-1", "0.5", "seven", ""]
KEEP = Deduplication("d", keep_last_if_active=True)


@pytest.mark.parametrize("priority", ODD)
def test_delayed_job_of_an_odd_priority_is_promoted(lane: Lane, priority: str) -> None:
    lane.delay("a", lane.now_ms, priority=priority)
    lane.delay("b", lane.now_ms)
    assert {claim.id for claim in lane.claim(2).claims} == {"a", "b"}


@pytest.mark.parametrize("field", ["priority", "delay"])
@pytest.mark.parametrize("value", ODD)
def test_parent_of_odd_numbers_is_released(lane: Lane, field: str, value: str) -> None:
    lane.store("p", **{field: value})
    lane.client.zadd(lane.key("waiting-children"), {"p": 1})
    lane.client.sadd(lane.key("p:dependencies"), lane.key("c"))
    claim = lane.claim_new("c", parentKey=lane.key("p"))
    assert lane.settle(claim, Complete(), RETURNED) is Settled.DONE
    assert [name for name in ("wait", "prioritized", "delayed") if "p" in lane.ids(name)]


@pytest.mark.parametrize("duration", [*ODD, str(10**17)])
def test_window_of_an_odd_duration_does_not_break_the_claim(lane: Lane, duration: str) -> None:
    lane.client.hset(lane.key("meta"), mapping={"max": 5, "duration": duration})
    lane.wait("1")
    (claim,) = lane.claim().claims
    assert lane.client.get(lane.key("1:lock")) == claim.token.encode()


def owner_with_a_next_job(lane: Lane) -> Claim:
    lane.add(deduplication=KEEP)
    (claim,) = lane.claim().claims
    lane.add(deduplication=KEEP)
    return claim


@pytest.mark.parametrize("number", ['"nan"', "1e999", "-1e999", "1e300", "true", "null", "[]"])
def test_next_job_of_odd_numbers_follows(lane: Lane, number: str) -> None:
    for option in ("delay", "priority", "de"):
        claim = owner_with_a_next_job(lane)
        value = f'{{"id":"d","ttl":{number}}}' if option == "de" else number
        lane.client.hset(lane.key("dn:d"), "opts", f'{{"{option}":{value}}}')
        assert lane.settle(claim, Complete(), RETURNED) is Settled.DONE
        assert [name for name in ("wait", "prioritized", "delayed") if lane.ids(name)]
        lane.client.flushdb()


@pytest.mark.parametrize("settlement", [Fail("boom"), Retry("boom", 0)])
def test_trace_of_odd_values_keeps_its_texts(lane: Lane, settlement: Fail | Retry) -> None:
    claim = lane.claim_new(stacktrace='["first",1e999,"last",null]', atm="nan", priority="nan")
    assert lane.settle(claim, settlement, RAISED) is Settled.DONE
    assert json.loads(lane.job("1")["stacktrace"]) == ["first", "last", RAISED.stack]


@pytest.mark.parametrize("rule", ['"nan"', "1e999", '{"age":"nan"}', '{"count":5,"limit":"nan"}'])
def test_cancelled_job_of_an_odd_keep_rule_ends(lane: Lane, rule: str) -> None:
    lane.wait("1", opts=f'{{"removeOnFail":{rule}}}')
    assert lane.run(cancel_job(lane.base, "1", now_ms=lane.now_ms)) is Cancellation.CANCELLED
    assert lane.ids("wait") == []
    assert lane.ids("failed") == ["1"]
