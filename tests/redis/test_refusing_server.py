"""A server that is away, or takes nothing now: everything says so, nothing is half written, and
once it is mended the same calls go through.
"""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.keyspace import snapshot
from tests.support.lane import LOCK_MS, RETURNED, Lane
from tests.support.waiting import until
from toril.errors import RedisUnavailable
from toril.runtime.claim import ClaimRequest, Marker, Report
from toril.runtime.limiter import RateLimit
from toril.runtime.queue import Queue
from toril.runtime.retry import Complete
from toril.runtime.settling import Settled
from toril.runtime.store import Ending, Exchange, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.support.servers import RedisServer
    from toril.runtime.claim import Claim

WANT = ClaimRequest(1, LOCK_MS)


@contextmanager
def down(server: RedisServer) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def read_only(server: RedisServer) -> Iterator[None]:
    """A replica of nobody: what a primary becomes that lost an election."""
    with server.connect() as client:
        client.config_set("replica-serve-stale-data", "yes")
        client.replicaof("127.0.0.1", "1")
        yield
        client.replicaof("NO", "ONE")


@contextmanager
def without_replicas(server: RedisServer) -> Iterator[None]:
    with server.connect() as client:
        client.config_set("min-replicas-to-write", 1)
        yield
        client.config_set("min-replicas-to-write", 0)


@contextmanager
def disk_full(server: RedisServer) -> Iterator[None]:
    """Its snapshots fail, because their directory is gone, so it stops taking writes."""
    with server.connect() as client:
        directory = client.config_get("dir")["dir"]
        shutil.rmtree(directory)
        client.config_set("save", "3600 1")
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        yield
        client.config_set("stop-writes-on-bgsave-error", "no")


@contextmanager
def silent(server: RedisServer) -> Iterator[None]:
    server.freeze()
    yield
    server.thaw()


FAULTS = {"down": down, "read-only": read_only, "no-replicas": without_replicas, "disk": disk_full}
every_fault = pytest.mark.parametrize("fault", FAULTS)
every_kind = pytest.mark.parametrize("kind", ["valkey", "redis7"])


@asynccontextmanager
async def open_store(url: str) -> AsyncIterator[Store]:
    store = Store(url, "bull", "lane")
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def calls(store: Store, claim: Claim) -> dict[str, Callable[[], Any]]:
    ending = Ending(claim, Complete(), RETURNED)
    return {
        "claim": lambda: store.exchange(want=WANT),
        "settle": lambda: store.exchange(endings=[ending]),
        "report": lambda: store.exchange([Report(claim, b"1")]),
        "all": lambda: store.exchange([Report(claim, b"1")], [ending], WANT),
        "renew": lambda: store.renew([claim], LOCK_MS),
        "sweep": lambda: store.sweep(1, 30_000),
        "put back": lambda: store.put_back(Marker("0", 0)),
        "limit": lambda: store.configure_limit(RateLimit(1, 1000, 1)),
    }


async def errors(call: Callable[[], Awaitable[Any]]) -> list[Any]:
    """What a call answered where it should have failed, entry by entry or as a whole."""
    try:
        answer = await call()
    except RedisUnavailable as error:
        return [error]
    if not isinstance(answer, Exchange):
        return [answer]
    claimed = [] if answer.claimed is None else [answer.claimed]
    return [*answer.reports, *answer.endings, *claimed]


@every_fault
@every_kind
async def test_every_call_says_that_redis_is_unavailable_and_goes_through_afterwards(
    private_server: Callable[..., RedisServer], kind: str, fault: str
) -> None:
    server = private_server(kind, append_only=fault != "disk")
    with server.connect() as client:
        lane = Lane(client)
        held = lane.claim_new()
        async with open_store(server.url) as store:
            before = snapshot(client)
            with FAULTS[fault](server):
                answers = {name: await errors(call) for name, call in calls(store, held).items()}
            assert snapshot(client) == before
            assert all(answers.values())
            assert {type(one) for told in answers.values() for one in told} == {RedisUnavailable}
            assert await store.adopt() == []
            back = await store.exchange(
                [Report(held, b"1")], [Ending(held, Complete(), RETURNED)], WANT
            )
    assert (back.reports, back.endings) == ([Settled.DONE], [Settled.DONE])


@every_fault
async def test_message_names_the_server_and_the_remedy(
    private_server: Callable[..., RedisServer], fault: str
) -> None:
    server = private_server(append_only=False)
    words = {
        "down": "cannot be used now",
        "read-only": "read-only replica.*Use the address of the primary",
        "no-replicas": "cannot be used now: NOREPLICAS",
        "disk": "cannot be used now: MISCONF",
    }
    async with open_store(server.url) as store:
        with FAULTS[fault](server), pytest.raises(RedisUnavailable, match=words[fault]) as caught:
            await store.sweep(1, 30_000)
    assert server.socket_path in str(caught.value)


@pytest.mark.parametrize("fault", ["read-only", "disk"])
def test_adding_fails_loudly_and_cancelling_too(
    private_server: Callable[..., RedisServer], fault: str
) -> None:
    server = private_server(append_only=False)
    with Queue("lane", redis=server.url) as queue, server.connect() as client:
        queue.add("before")
        before = snapshot(client)
        with FAULTS[fault](server):
            with pytest.raises(RedisUnavailable):
                queue.add("a")
            with pytest.raises(RedisUnavailable):
                queue.cancel("1")
        assert snapshot(client) == before
        assert queue.cancel("1") == "cancelled"


async def test_full_server_takes_every_move_of_a_job_and_no_new_bytes(
    private_server: Callable[..., RedisServer],
) -> None:
    """Or it could never empty."""
    server = private_server(append_only=False)
    with server.connect() as client:
        lane = Lane(client)
        held = lane.claim_new()
        lane.wait("2")
        async with open_store(server.url) as store:
            client.config_set("maxmemory", 1)
            everything = calls(store, held)
            for name in ("sweep", "renew", "put back", "limit", "settle", "claim"):
                await everything[name]()
            (refused,) = await errors(everything["report"])
            assert isinstance(refused, RedisUnavailable)
            assert "maxmemory" in str(refused)
            with pytest.raises(RedisUnavailable, match="out of memory"):
                await store.add("n", b"1", {})


async def test_silent_server_is_given_up_and_found_again(
    private_server: Callable[..., RedisServer],
) -> None:
    server = private_server(append_only=False)
    with server.connect() as client:
        lane = Lane(client)
        held = lane.claim_new()
        async with open_store(f"{server.url}&socket_timeout=0.1") as store:
            ending = Ending(held, Complete(), RETURNED)
            with silent(server), pytest.raises(RedisUnavailable, match="did not answer in time"):
                await store.exchange(endings=[ending])
            back = await store.exchange(endings=[ending])
    assert back.endings[0] in {Settled.DONE, Settled.ALREADY}
