"""The store and the lock keeper against real servers: round trips, lost replies, outages."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.fault_proxy import FaultProxy
from tests.support.keyspace import unchanged_keyspace
from tests.support.lane import LOCK_MS, RAISED, RETURNED, Lane
from toril.errors import RedisRefused, RedisUnavailable, TorilError
from toril.runtime.claim import ClaimRequest, Marker, Renewed, Report
from toril.runtime.limiter import RateLimit
from toril.runtime.lock import LockKeeper
from toril.runtime.retry import Abandon, Complete
from toril.runtime.settling import Settled
from toril.runtime.store import Ending, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.servers import RedisServer
    from toril.runtime.claim import Claim, Claimed

WANT = ClaimRequest(5, LOCK_MS)


@asynccontextmanager
async def open_store(url: str, *, worker_name: str = "w 1") -> AsyncIterator[Store]:
    store = Store(url, "bull", "lane", worker_name=worker_name)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def claim(store: Store, count: int = 1) -> tuple[Claim, ...]:
    claimed = (await store.exchange(want=ClaimRequest(count, LOCK_MS))).claimed
    assert claimed is not None
    assert not isinstance(claimed, TorilError)
    return claimed.claims


# -- exchange


async def test_exchange_reports_settles_and_claims_in_one_go(lane: Lane, redis_url: str) -> None:
    for job_id in ("a", "b", "c"):
        lane.wait(job_id)
    async with open_store(redis_url) as store:
        first, second = await claim(store, 2)
        back = await store.exchange(
            [Report(second, progress=b"50")], [Ending(first, Complete(), RETURNED)], WANT
        )
    assert back.reports == [Settled.DONE]
    assert back.endings == [Settled.DONE]
    assert [claim.id for claim in claims_of(back.claimed)] == ["c"]
    assert lane.job("a")["returnvalue"] == '{"ok":1}'
    assert lane.job("b")["progress"] == "50"
    assert lane.job("a")["pb"] == "w 1"


def claims_of(claimed: Claimed | TorilError | None) -> tuple[Claim, ...]:
    assert claimed is not None
    assert not isinstance(claimed, TorilError)
    return claimed.claims


async def test_tokens_are_unique_and_new_each_time(lane: Lane, redis_url: str) -> None:
    for n in range(4):
        lane.wait(f"j{n}")
    async with open_store(redis_url) as store:
        claims = [*await claim(store, 2), *await claim(store, 2)]
    assert len({claim.token for claim in claims}) == 4
    assert all(":" in claim.token for claim in claims)


async def test_nothing_to_say_sends_nothing(redis_url: str) -> None:
    async with open_store(redis_url) as store:
        back = await store.exchange()
    assert (back.reports, back.endings, back.claimed) == ([], [], None)


async def test_abandoned_ending_is_not_sent(lane: Lane, redis_url: str) -> None:
    held = lane.claim_new()
    async with open_store(redis_url) as store:
        with unchanged_keyspace(lane.client):
            back = await store.exchange(endings=[Ending(held, Abandon(), RAISED)])
    assert back.endings == [Settled.ABANDONED]


async def test_flushed_scripts_are_loaded_and_only_what_failed_is_sent_again(
    lane: Lane, redis_url: str
) -> None:
    for job_id in ("a", "b"):
        lane.wait(job_id)
    async with open_store(redis_url) as store:
        (first,) = await claim(store)
        lane.client.script_flush()
        lane.client.delete(lane.key("events"))
        back = await store.exchange([Report(first, progress=b"1")], [], ClaimRequest(1, LOCK_MS))
        lane.client.script_flush()
        ending = Ending(first, Complete(), RETURNED)
        again = await store.exchange([], [ending, ending])
    assert back.reports == [Settled.DONE]
    assert [claim.id for claim in claims_of(back.claimed)] == ["b"]
    assert again.endings == [Settled.DONE, Settled.ALREADY]
    assert lane.event_names() == ["progress", "active", "completed"]


async def test_job_whose_name_and_id_are_no_utf_8_spoils_nothing(
    lane: Lane, redis_url: str
) -> None:
    """Any producer may write such bytes; they go back to Redis as they came."""
    job_id = b"\xff\xc3"
    lane.client.hset(b"bull:lane:" + job_id, mapping={"name": b"\xfe", "data": "{}", "opts": "{}"})
    lane.client.lpush(lane.key("wait"), job_id)
    async with open_store(redis_url) as store:
        (held,) = await claim(store)
        assert await store.renew([held], LOCK_MS) == Renewed()
        back = await store.exchange(
            [Report(held, log_lines=("line",))], [Ending(held, Complete(), RETURNED)]
        )
    assert (back.reports, back.endings) == ([Settled.DONE], [Settled.DONE])
    assert lane.client.zrange(lane.key("completed"), 0, -1) == [job_id]


async def test_error_of_one_entry_is_its_own(lane: Lane, redis_url: str) -> None:
    for job_id in ("a", "b", "c"):
        lane.wait(job_id)
    async with open_store(redis_url) as store:
        first, second = await claim(store, 2)
        lane.client.set(lane.key("a:dependencies"), "taken")
        back = await store.exchange(
            [],
            [Ending(first, Complete(), RETURNED), Ending(second, Complete(), RETURNED)],
            ClaimRequest(1, LOCK_MS),
        )
    assert isinstance(back.endings[0], RedisRefused)
    assert "a:dependencies" in str(back.endings[0])
    assert back.endings[1] is Settled.DONE
    assert [claim.id for claim in claims_of(back.claimed)] == ["c"]


async def test_full_server_refuses_reports_and_takes_the_rest(lane: Lane, redis_url: str) -> None:
    lane.wait("a")
    lane.wait("b")
    async with open_store(redis_url) as store:
        (held,) = await claim(store)
        lane.client.config_set("maxmemory", 1)
        try:
            back = await store.exchange(
                [Report(held, progress=b"1")], [Ending(held, Complete(), RETURNED)], WANT
            )
            alone = await store.exchange([Report(held, progress=b"1")])
        finally:
            lane.client.config_set("maxmemory", 0)
    assert isinstance(back.reports[0], RedisUnavailable)
    assert isinstance(alone.reports[0], RedisUnavailable)
    assert "memory" in str(alone.reports[0])
    assert back.endings == [Settled.DONE]
    assert [claim.id for claim in claims_of(back.claimed)] == ["b"]


async def test_read_only_server_is_unavailable(
    private_server: Callable[..., RedisServer],
) -> None:
    server = private_server()
    with server.connect() as client:
        lane = Lane(client)
        held = lane.claim_new()
        async with open_store(server.url) as store:
            client.replicaof("127.0.0.1", "1")
            refused = await store.exchange(endings=[Ending(held, Complete(), RETURNED)])
            client.replicaof("NO", "ONE")
            back = await store.exchange(endings=[Ending(held, Complete(), RETURNED)])
    assert isinstance(refused.endings[0], RedisUnavailable)
    assert back.endings == [Settled.DONE]


async def test_log_lines_that_were_refused_with_an_ending_come_again_whole(
    private_server: Callable[..., RedisServer],
) -> None:
    server = private_server()
    with server.connect() as client:
        lane = Lane(client)
        held = lane.claim_new()
        async with open_store(server.url) as store:
            await store.exchange([Report(held, log_lines=("a", "b"))])
            both = [Report(held, log_lines=("c",))], [Ending(held, Complete(), RETURNED)]
            client.replicaof("127.0.0.1", "1")
            await store.exchange(*both)
            client.replicaof("NO", "ONE")
            await store.exchange(*both)
            assert store._said == {}
        assert client.lrange(lane.key("1:logs"), 0, -1) == [b"a", b"b", b"c"]


async def test_what_a_lost_claim_said_is_forgotten(lane: Lane, redis_url: str) -> None:
    held = lane.claim_new()
    async with open_store(redis_url) as store:
        await store.exchange([Report(held, log_lines=("a",))])
        lane.client.set(lane.key("1:lock"), "somebody else")
        await store.renew([held], LOCK_MS)
        assert store._said == {}


async def test_killed_server_is_unavailable_and_comes_back(
    private_server: Callable[..., RedisServer],
) -> None:
    server = private_server()
    with server.connect() as client:
        Lane(client).wait("1")
    async with open_store(server.url) as store:
        (held,) = await claim(store)
        ending = Ending(held, Complete(), RETURNED)
        server.kill()
        with pytest.raises(RedisUnavailable):
            await store.exchange(endings=[ending])
        with pytest.raises(RedisUnavailable):
            await store.ping()
        with pytest.raises(RedisUnavailable):
            await store.wait_marker(1)
        server.start()
        await store.ping()
        assert (await store.exchange(endings=[ending])).endings == [Settled.DONE]


async def test_nothing_there_is_unavailable(tmp_path: object) -> None:
    store = Store(f"unix://{tmp_path}/nothing", "bull", "lane")
    with pytest.raises(RedisUnavailable, match="nothing"):
        await store.open()
    await store.close()


async def test_empty_means_nothing_waits(lane: Lane, redis_url: str) -> None:
    async with open_store(redis_url) as store:
        assert await store.is_empty()
        lane.delay("1", lane.now_ms)
        assert not await store.is_empty()


# -- claims whose reply was lost


async def test_claim_with_a_lost_reply_is_adopted(
    private_server: Callable[..., RedisServer],
) -> None:
    server = private_server()
    with server.connect() as client:
        lane = Lane(client)
        lane.wait("1", data='{"x":1}')
        async with open_store(f"{server.url}&socket_timeout=0.2") as store:
            await claim_nothing(store)
            server.freeze()
            with pytest.raises(RedisUnavailable):
                await store.exchange(want=WANT)
            server.thaw()
            adopted = await adopted_soon(store)
            assert [(claim.id, claim.data) for claim in adopted] == [("1", b'{"x":1}')]
            assert client.get(lane.key("1:lock")) == adopted[0].token.encode()
            assert await store.adopt() == []
            back = await store.exchange(endings=[Ending(adopted[0], Complete(), RETURNED)])
    assert back.endings == [Settled.DONE]


async def claim_nothing(store: Store) -> None:
    """Load the script, so that the frozen request is the claim itself."""
    await store.exchange(want=replace(WANT, count=0))


async def adopted_soon(store: Store) -> list[Claim]:
    async with asyncio.timeout(10):
        while True:
            with suppress(RedisUnavailable):
                if adopted := await store.adopt():
                    return adopted


async def test_confirmed_claims_leave_nothing_to_adopt(lane: Lane, redis_url: str) -> None:
    lane.wait("1")
    async with open_store(redis_url) as store:
        await claim(store)
        assert not store.has_unconfirmed
        assert await store.adopt() == []


# -- markers


async def test_marker_wakes_and_is_put_back(lane: Lane, redis_url: str) -> None:
    async with open_store(redis_url) as store:
        waiting = asyncio.create_task(store.wait_marker(30))
        await asyncio.sleep(0)
        lane.client.zadd(lane.key("marker"), {"0": 0})
        marker = await waiting
        assert marker == Marker("0", 0)
        await store.put_back(marker)
    assert lane.scores("marker") == {"0": 0}


async def test_delay_marker_tells_its_time(lane: Lane, redis_url: str) -> None:
    lane.client.zadd(lane.key("marker"), {"1": lane.now_ms + 0.75})
    async with open_store(redis_url) as store:
        assert await store.wait_marker(1) == Marker("1", lane.now_ms)


async def test_wait_ends_with_its_time(redis_url: str) -> None:
    async with open_store(redis_url) as store:
        assert await store.wait_marker(0) is None
        assert await store.wait_marker(0.01) is None


async def test_wait_is_unblocked_at_any_moment(lane: Lane, redis_url: str) -> None:
    async with open_store(redis_url) as store:
        await store.unblock()
        for turns in (1, 2, 5, 50):
            waiting = asyncio.create_task(store.wait_marker(30))
            for _ in range(turns):
                await asyncio.sleep(0)
            await store.unblock()
            assert await waiting is None
        lane.client.zadd(lane.key("marker"), {"0": 0})
        assert await store.wait_marker(1) == Marker("0", 0)


async def test_cancelled_wait_leaves_a_usable_store(lane: Lane, redis_url: str) -> None:
    async with open_store(redis_url) as store:
        waiting = asyncio.create_task(store.wait_marker(30))
        await until(lambda: blocked_clients(lane) == 1)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        await until(lambda: blocked_clients(lane) == 0)
        lane.client.zadd(lane.key("marker"), {"0": 0})
        assert await store.wait_marker(1) == Marker("0", 0)


async def until(is_so: Callable[[], bool]) -> None:
    """Turn the loop until the server is in a state of which it sends no word."""
    while not is_so():  # noqa: ASYNC110 - there is nothing to await
        await asyncio.sleep(0)


def blocked_clients(lane: Lane) -> int:
    return int(lane.client.info("clients")["blocked_clients"])


async def test_silent_server_is_noticed_by_our_own_watchdog(
    private_server: Callable[..., RedisServer],
) -> None:
    server = private_server()
    async with open_store(server.url) as store:
        server.freeze()
        with pytest.raises(RedisUnavailable, match="silent"):
            await store.wait_marker(0.05)
        server.thaw()
        assert await store.wait_marker(0.01) is None


async def test_exactly_one_connection_bears_the_workers_name(lane: Lane, redis_url: str) -> None:
    lane.wait("1")
    async with open_store(redis_url, worker_name="host a") as store:
        await claim(store)
        await store.wait_marker(0.01)
        names = [client["name"] for client in lane.client.client_list()]
    assert names.count("bull:bGFuZQ==:w:host_a") == 1
    assert "toril:bull:lane" in names


# -- the rest


async def test_sweep_recovers(lane: Lane, redis_url: str) -> None:
    lane.claim_new()
    lane.client.delete(lane.key("1:lock"))
    async with open_store(redis_url) as store:
        assert await store.sweep(1, 1) == []
        await until(lambda: not lane.client.exists(lane.key("stalled-check")))
        assert await store.sweep(1, 30_000) == ["1"]


async def test_limit_of_the_configuration_is_offered(redis_url: str) -> None:
    limit = RateLimit(tokens=5, per_ms=1000, burst=5)
    async with open_store(redis_url) as store:
        assert await store.configure_limit(None) is None
        assert await store.configure_limit(limit) == limit
        assert await store.configure_limit(replace(limit, tokens=9)) == limit
        assert await store.configure_limit(None) == limit


# -- lock keeper


async def test_keeper_renews_what_it_holds_and_tells_what_is_lost(
    lane: Lane, redis_url: str
) -> None:
    kept, lost, released = (lane.claim_new(job_id) for job_id in ("kept", "lost", "released"))
    lane.client.set(lane.key("lost:lock"), "somebody else")
    told: list[Claim] = []
    async with open_store(redis_url) as store:
        keeper = LockKeeper(store, 90_000, told.append, interval_s=math.inf)
        keeper.hold([kept, lost, released])
        keeper.release(released)
        await keeper.renew_now()
        await keeper.renew_now()
    assert told == [lost]
    assert keeper.held == (kept,)
    assert lane.client.pttl(lane.key("kept:lock")) > 80_000
    assert lane.client.pttl(lane.key("released:lock")) <= LOCK_MS


async def test_keeper_renews_hundreds_in_batches(lane: Lane, redis_url: str) -> None:
    for n in range(1200):
        lane.wait(f"j{n}")
    claims = lane.claim(1200).claims
    lane.client.delete(lane.key("j7:lock"), lane.key("j1100:lock"))
    lane.client.set(lane.key("j1100:lock"), "somebody else")
    async with open_store(redis_url) as store:
        renewed = await store.renew(claims, LOCK_MS)
    assert [claim.id for claim in renewed.lost] == ["j1100"]
    assert lane.client.get(lane.key("j7:lock")) == claims[7].token.encode()


async def test_running_keeper_outlives_an_outage(
    private_server: Callable[..., RedisServer],
) -> None:
    server = private_server()
    failed, lost = asyncio.Event(), asyncio.Event()
    with server.connect() as client:
        lane = Lane(client)
        held = lane.claim_new()
    async with open_store(server.url) as store:
        keeper = LockKeeper(
            store,
            100,
            lambda _claim: lost.set(),
            on_error=lambda _error: failed.set(),
            interval_s=0.01,
        )
        keeper.hold([held])
        keeper.start()
        server.kill()
        await failed.wait()
        server.start()
        with server.connect() as client:
            client.set("bull:lane:1:lock", "somebody else")
        await lost.wait()
        assert keeper.held == ()
        await keeper.stop()


async def test_keeper_that_never_renews_lets_locks_run_out(lane: Lane, redis_url: str) -> None:
    """The negative of the above: renewal is what keeps a lock."""
    held = lane.claim_new()
    lane.client.pexpire(lane.key("1:lock"), 20)
    async with open_store(redis_url) as store:
        keeper = LockKeeper(store, 20, lambda _claim: None, interval_s=math.inf)
        keeper.hold([held])
        keeper.start()
        await until(lambda: not lane.client.exists(lane.key("1:lock")))
        await keeper.stop()


async def test_claim_settled_during_a_renewal_is_not_lost(lane: Lane, redis_url: str) -> None:
    held = lane.claim_new()
    told: list[Claim] = []
    async with open_store(redis_url) as store:
        keeper = LockKeeper(store, LOCK_MS, told.append, interval_s=math.inf)
        keeper.hold([held])
        lane.settle(held, Complete(), RETURNED)
        renewal = asyncio.create_task(keeper.renew_now())
        await asyncio.sleep(0)
        keeper.release(held)
        await renewal
    assert told == []


async def test_connections_that_were_reset_while_idle_are_replaced(
    lane: Lane, redis_server: RedisServer
) -> None:
    """Nothing but the transport tells of it, and uvloop has a word of its own for writing there."""
    lane.wait("1")
    with FaultProxy(redis_server.socket_path) as proxy:
        async with open_store(proxy.url) as store:
            proxy.reset()
            await asyncio.sleep(0.05)
            (claimed,) = await claim(store)
            proxy.reset()
            await asyncio.sleep(0.05)
            assert await store.renew([claimed], LOCK_MS) == Renewed()
            with suppress(RedisUnavailable):
                await store.wait_marker(0.01)
            assert await store.wait_marker(0.01) is not None
