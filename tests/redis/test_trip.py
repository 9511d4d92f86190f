"""Round trips that are sent before the last one is answered, or read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.redis.test_store import claim, claims_of, open_store
from tests.support.lane import LOCK_MS, RETURNED, Lane
from toril.runtime.claim import ClaimRequest, Report
from toril.runtime.retry import Complete
from toril.runtime.settling import Settled
from toril.runtime.store import Ending

if TYPE_CHECKING:
    from toril.runtime.store import Trip


def wanting(count: int) -> ClaimRequest:
    return ClaimRequest(count, LOCK_MS)


async def test_replies_go_to_the_trip_they_belong_to(lane: Lane, redis_url: str) -> None:
    for job_id in ("a", "b", "c"):
        lane.wait(job_id)
    async with open_store(redis_url) as store:
        (held,) = await claim(store)
        first = store.send((), [Ending(held, Complete(), RETURNED)], wanting(1))
        second = store.send((), (), wanting(1))
        await store.answer(second)
        await store.answer(first)
        assert store.read(first).endings == [Settled.DONE]
        assert [one.id for one in claims_of(store.read(first).claimed)] == ["b"]
        assert [one.id for one in claims_of(store.read(second).claimed)] == ["c"]


async def test_trip_that_nobody_waits_for_any_more_keeps_its_place(
    lane: Lane, redis_url: str
) -> None:
    for job_id in ("a", "b"):
        lane.wait(job_id)
    async with open_store(redis_url) as store:
        lane.client.client_pause(100)  # Its reply comes when nobody waits.
        lost = store.send((), (), wanting(1))
        waiting = asyncio.create_task(store.answer(lost))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert [one.id for one in await claim(store)] == ["b"]
        assert store.has_unconfirmed
        assert [one.id for one in await store.adopt()] == ["a"]


async def test_connection_that_broke_while_idle_is_nothing_to_fail_for(
    lane: Lane, redis_url: str
) -> None:
    lane.wait("a")
    async with open_store(redis_url) as store:
        lane.client.client_kill_filter(skipme=True)
        await asyncio.sleep(0.05)
        assert [one.id for one in await claim(store)] == ["a"]


@pytest.mark.parametrize(
    ("waiting", "is_reporting", "is_plain"), [(2, False, True), (1, False, False), (2, True, False)]
)
async def test_plain_is_a_trip_that_did_what_was_asked(
    lane: Lane, redis_url: str, waiting: int, *, is_reporting: bool, is_plain: bool
) -> None:
    lane.wait("held")
    async with open_store(redis_url) as store:
        (held,) = await claim(store)
        for n in range(waiting):
            lane.wait(f"j{n}")
        reports = [Report(held, progress=b"1")] if is_reporting else []
        trip = store.send(reports, (), wanting(2))
        await store.answer(trip)
    assert trip.is_plain is is_plain


async def test_trip_with_an_error_or_without_a_claim_is_not_plain(
    lane: Lane, redis_url: str
) -> None:
    held = lane.claim_new()
    async with open_store(redis_url) as store:
        ended: Trip = store.send((), [Ending(held, Complete(), RETURNED)], None)
        await store.answer(ended)
        lane.client.delete(lane.key("wait"))
        lane.client.set(lane.key("wait"), "no list")
        refused = store.send((), (), wanting(1))
        await store.answer(refused)
    assert not ended.is_plain
    assert not refused.is_plain
