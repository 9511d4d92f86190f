"""Questions about running jobs: who listens, who looks, stacks; and jobs that a job adds."""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fault_proxy import FaultProxy
from tests.support.lane import LOCK_MS, Lane
from toril.errors import DataTooLarge, InvalidInput, InvalidJobData, InvalidOption, RedisRefused
from toril.runtime import children
from toril.runtime.asking import Ask, Asked, ask_channel, cancel_job
from toril.runtime.children import PAGE, AskedOfChildren
from toril.runtime.listening import Listener
from toril.runtime.lock import LockKeeper
from toril.runtime.queue import AsyncQueue, Queue
from toril.runtime.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.support.servers import RedisServer
    from toril.runtime.claim import Claim

CANCEL_1 = json.dumps({"do": "cancel", "id": "1"})


@asynccontextmanager
async def open_store(url: str) -> AsyncIterator[Store]:
    store = Store(url, "bull", "lane", worker_name="w 1")
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def until(is_so: Callable[[], bool]) -> None:
    """Turn the loop until the server is in a state of which it sends no word."""
    while not is_so():  # noqa: ASYNC110 - there is nothing to await
        await asyncio.sleep(0)


async def subscribed(lane: Lane, count: int = 1) -> None:
    """Turn the loop until so many listen."""
    channel = ask_channel(lane.base)
    await until(lambda: lane.client.pubsub_numsub(channel)[0][1] == count)


async def first(asks: AsyncIterator[Ask]) -> Ask:
    return await anext(asks)


# -- listening


async def test_question_reaches_a_supervisor(lane: Lane, redis_url: str) -> None:
    lane.claim_new()
    async with open_store(redis_url) as store, aclosing(store.asks()) as asks:
        heard = asyncio.create_task(first(asks))
        await subscribed(lane)
        lane.run(cancel_job(lane.base, "1"))
        assert await heard == Ask(Asked.CANCEL, "1")


@pytest.mark.parametrize(
    "noise",
    [
        b"", b"\xff", b"7", b"{", b"[" * 3000, b'{"do":"dance","id":"1"}', b'{"do":"cancel"}',
        b'{"do":"cancel","id":1}', b'{"do":"stack","id":"1"}', b'{"do":["cancel"],"id":"1"}',
        b'{"do":"stack","id":"1","reply":"../key"}', b'{"do":"stack","id":"1","reply":7}',
        b'{"do":"cancel","id":"' + b"x" * 5000 + b'"}',
    ],
)  # fmt: skip
async def test_what_is_no_question_is_left_out(lane: Lane, redis_url: str, noise: bytes) -> None:
    async with open_store(redis_url) as store, aclosing(store.asks()) as asks:
        heard = asyncio.create_task(first(asks))
        await subscribed(lane)
        lane.client.publish(ask_channel(lane.base), noise)
        lane.client.publish(ask_channel(lane.base), CANCEL_1)
        assert await heard == Ask(Asked.CANCEL, "1")


async def test_listening_survives_an_outage(private_server: Callable[..., RedisServer]) -> None:
    server = private_server()
    async with open_store(server.url) as store, aclosing(store.asks()) as asks:
        heard = asyncio.create_task(first(asks))
        with server.connect() as client:
            await subscribed(Lane(client))
        server.kill()
        server.start()
        with server.connect() as client:
            await subscribed(Lane(client))
            client.publish(ask_channel(Lane(client).base), CANCEL_1)
            assert (await heard).job_id == "1"


async def test_silent_connection_is_noticed_and_left(
    lane: Lane, redis_server: RedisServer, tmp_path: Path
) -> None:
    """A connection that died without a word would never bring a question again."""
    with FaultProxy(redis_server.socket_path, tmp_path) as proxy:
        listener = Listener(proxy.url, ask_channel(lane.base), "toril:test", ping_every_s=0.02)
        async with aclosing(listener.asks()) as asks:
            heard = asyncio.create_task(first(asks))
            await subscribed(lane)
            before = connected(lane.client)
            proxy.blackhole()
            await until(lambda: connected(lane.client) > before)
            proxy.heal()
            while not heard.done():
                lane.client.publish(ask_channel(lane.base), CANCEL_1)
                await asyncio.sleep(0)
            assert heard.result().job_id == "1"
        await listener.close()


def connected(client: Any) -> int:
    return int(client.info("stats")["total_connections_received"])


async def test_quiet_server_that_answers_is_kept(lane: Lane, redis_url: str) -> None:
    listener = Listener(redis_url, ask_channel(lane.base), "toril:test", ping_every_s=0.01)
    async with aclosing(listener.asks()) as asks:
        heard = asyncio.create_task(first(asks))
        await subscribed(lane)
        before = connected(lane.client)
        pings = lane.client.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"]
        await until(lambda: lane.client.info("commandstats")["cmdstat_ping"]["calls"] >= pings + 3)
        assert connected(lane.client) == before
        lane.client.publish(ask_channel(lane.base), CANCEL_1)
        await heard
    await listener.close()


async def test_user_who_may_not_listen_is_told(lane: Lane, redis_server: RedisServer) -> None:
    rules = ("~*", "+@all", "resetchannels")
    lane.client.execute_command("ACL", "SETUSER", "deaf", "on", ">pw", *rules)
    try:
        listener = Listener(f"unix://deaf:pw@{redis_server.socket_path}", "bull:x:toril:ask", "t")
        async with aclosing(listener.asks()) as asks:
            with pytest.raises(RedisRefused, match="ACL"):
                await first(asks)
        await listener.close()
    finally:
        lane.client.execute_command("ACL", "DELUSER", "deaf")


async def test_close_ends_the_listening(lane: Lane, redis_url: str) -> None:
    async def all_of(store: Store) -> list[Ask]:
        return [ask async for ask in store.asks()]

    async with open_store(redis_url) as store:
        listening = asyncio.create_task(all_of(store))
        await subscribed(lane)
    assert await listening == []
    await subscribed(lane, 0)


# -- the keeper


async def test_keeper_tells_of_a_cancelled_job_once_and_keeps_it(
    lane: Lane, redis_url: str
) -> None:
    held, other = lane.claim_new("1"), lane.claim_new("2")
    told: list[Claim] = []
    async with open_store(redis_url) as store:
        keeper = LockKeeper(
            store, LOCK_MS, lambda _claim: None, on_cancelled=told.append, interval_s=math.inf
        )
        keeper.hold([held, other])
        lane.run(cancel_job(lane.base, "1"))
        for _ in range(2):
            await keeper.renew_now()
    assert told == [held]
    assert keeper.held == (held, other)


async def test_keeper_looks_at_one_job(lane: Lane, redis_url: str) -> None:
    held, other = lane.claim_new("1"), lane.claim_new("2")
    lane.client.set(lane.key("2:lock"), "somebody else")
    told: list[Claim] = []
    lost: list[Claim] = []
    async with open_store(redis_url) as store:
        keeper = LockKeeper(
            store, LOCK_MS, lost.append, on_cancelled=told.append, interval_s=math.inf
        )
        keeper.hold([held, other])
        lane.run(cancel_job(lane.base, "1"))
        await keeper.look("1")
        await keeper.look("nobody's")
        assert (told, lost) == ([held], [])
        await keeper.look("2")
    assert lost == [other]


async def test_message_alone_cancels_nothing(lane: Lane, redis_url: str) -> None:
    """Channels are shared by all databases of a server; the mark on the job is what counts."""
    held = lane.claim_new("1")
    told: list[Claim] = []
    async with open_store(redis_url) as store, aclosing(store.asks()) as asks:
        keeper = LockKeeper(
            store, LOCK_MS, lambda _claim: None, on_cancelled=told.append, interval_s=math.inf
        )
        keeper.hold([held])
        heard = asyncio.create_task(first(asks))
        await subscribed(lane)
        lane.client.publish(ask_channel(lane.base), CANCEL_1)
        await keeper.look((await heard).job_id)
    assert told == []


# -- stacks


async def answering(store: Store, text: str) -> None:
    async for ask in store.asks():
        await store.answer_stack(ask, text)


async def test_stack_of_a_running_job_is_answered(lane: Lane, redis_url: str) -> None:
    lane.claim_new("1")
    async with open_store(redis_url) as store, AsyncQueue("lane", redis=redis_url) as queue:
        answers = asyncio.create_task(answering(store, "File x.py, line 1 ü"))
        await subscribed(lane)
        assert await queue.stack("1") == "File x.py, line 1 ü"
        answers.cancel()
    assert lane.client.keys(lane.key("toril:stack:*")) == []


async def test_blocking_queue_asks_too(lane: Lane, redis_url: str) -> None:
    lane.claim_new("1")
    async with open_store(redis_url) as store:
        answers = asyncio.create_task(answering(store, "x" * 100_000))
        await subscribed(lane)
        with Queue("lane", redis=redis_url) as queue:
            stack = await asyncio.to_thread(queue.stack, "1")
        answers.cancel()
    assert stack == "x" * 65_536


async def test_job_that_does_not_run_has_no_stack(lane: Lane, redis_url: str) -> None:
    lane.wait("1")
    async with AsyncQueue("lane", redis=redis_url) as queue:
        assert await queue.stack("1") is None
        assert await queue.stack("nobody") is None
        assert await queue.stack("meta") is None


async def test_nobody_who_answers_is_no_stack(lane: Lane, redis_url: str) -> None:
    lane.claim_new("1")
    async with AsyncQueue("lane", redis=redis_url) as queue:
        assert await queue.stack("1", timeout="30ms") is None


async def test_answer_that_nobody_fetches_goes_by_itself(lane: Lane, redis_url: str) -> None:
    async with open_store(redis_url) as store:
        await store.answer_stack(Ask(Asked.STACK, "1", "0" * 32), "text")
    assert 0 < lane.client.pttl(lane.key(f"toril:stack:{'0' * 32}")) <= 60_000


# -- jobs of a job


async def test_running_job_adds_another(lane: Lane, redis_url: str) -> None:
    options = {
        "delay": "1500ms",
        "priority": 3,
        "attempts": 2,
        "backoff": {"type": "exponential", "delay": "1s", "jitter": 0.5},
        "remove_on_complete": {"age": 5, "count": 2},
        "remove_on_fail": True,
        "job_id": "next-1",
        "deduplication": {"id": "d", "ttl": "1s", "extend": True},
    }
    async with open_store(redis_url) as store:
        assert await store.add("next", b'{"n": 1}', options) == "next-1"
        assert await store.add("plain", b"null", {}) == "2"
    job = lane.job("next-1")
    assert (job["name"], job["data"], job["delay"]) == ("next", '{"n": 1}', "1500")
    assert json.loads(job["opts"]) == {
        "jobId": "next-1",
        "delay": 1500,
        "priority": 3,
        "attempts": 2,
        "backoff": {"type": "exponential", "delay": 1000, "jitter": 0.5},
        "removeOnComplete": {"age": 5, "count": 2, "limit": 1000},
        "removeOnFail": True,
        "de": {"id": "d", "ttl": 1000, "extend": True},
    }
    assert lane.ids("wait") == ["2"]


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (("", b"1", {}), InvalidInput),
        ((7, b"1", {}), InvalidInput),
        (("a", b"nonsense", {}), InvalidJobData),
        (("a", b"NaN", {}), InvalidJobData),
        (("a", b'"\xff"', {}), InvalidJobData),
        (("a", b"1 2", {}), InvalidJobData),
        (("a", b'"' + b"x" * 2**24 + b'"', {}), InvalidInput),
        (("a", b"1", {"dely": "1s"}), InvalidOption),
        (("a", b"1", {"timeout": "1s"}), InvalidOption),
        (("a", b"1", {"delay": 5}), InvalidOption),
        (("a", b"1", {"job_id": "a:b"}), InvalidInput),
        (("a", b"1", {"backoff": {"type": "", "delay": "1s"}}), InvalidOption),
        (("a", b"1", {"backoff": {"type": ["mine"], "delay": "1s"}}), InvalidOption),
        (("a", b"1", {"backoff": {"type": "mine", "delay": 5}}), InvalidOption),
        (("a", b"1", {"backoff": {"type": "fixed", "delay": "1s", "more": 1}}), InvalidOption),
        (("a", b"1", {"backoff": {"type": "fixed", "delay": 5}}), InvalidOption),
        (("a", b"1", {"remove_on_fail": {"count": -1}}), InvalidOption),
        (("a", b"1", {"remove_on_fail": {"counts": 1}}), InvalidOption),
        (("a", b"1", {"deduplication": {"id": 7}}), InvalidOption),
        (("a", b"1", {"deduplication": {"ttl": "1s"}}), InvalidOption),
        (("a", b"1", {"deduplication": {"id": "d", "more": 1}}), InvalidOption),
        (("a", b"1", {"parent": {"id": "p", "queue": "bull:q"}}), InvalidOption),
        (("a", b"1", {"fail_parent_on_failure": True}), InvalidOption),
    ],
)
async def test_what_a_queue_would_refuse_is_refused(
    lane: Lane, redis_url: str, wanted: tuple[str, bytes, dict[str, Any]], error: type
) -> None:
    async with open_store(redis_url) as store:
        with pytest.raises(error):
            await store.add(*wanted)
    assert lane.client.keys() == []


# -- a job's children


async def test_running_job_learns_of_its_children(lane: Lane, redis_url: str) -> None:
    claim = lane.claim_new("p")
    values = {"bull:a:1": '{"x":1}', "bull:ä:2": "null"}
    lane.client.hset(lane.key("p:processed"), mapping=values)
    lane.client.hset(lane.key("p:failed"), "bull:a:3", "no\n luck")
    lane.client.sadd(lane.key("p:dependencies"), "bull:a:5", "bull:a:4")
    lane.client.zadd(lane.key("p:unsuccessful"), {"bull:a:6": 1})
    async with open_store(redis_url) as store:
        told = [json.loads(await store.children(claim, one)) for one in AskedOfChildren]
    assert told == [
        {"bull:a:1": {"x": 1}, "bull:ä:2": None},
        {"bull:a:3": "no\n luck"},
        ["bull:a:4", "bull:a:5"],
    ]
    async with AsyncQueue("lane", redis=redis_url) as queue:
        job = await queue.get_job("p")
        assert job is not None
        assert await job.children_values() == told[0]
        assert await job.ignored_children_failures() == told[1]
        assert await job.unprocessed_children() == told[2]
        assert await job.failed_children() == ["bull:a:6"]


async def test_childless_job_learns_that(lane: Lane, redis_url: str) -> None:
    claim = lane.claim_new("p")
    async with open_store(redis_url) as store:
        told = [json.loads(await store.children(claim, one)) for one in AskedOfChildren]
    assert told == [{}, {}, []]


async def test_job_of_many_children_learns_of_them_all(lane: Lane, redis_url: str) -> None:
    claim = lane.claim_new("p")
    names = [f"bull:a:{at}" for at in range(3 * PAGE)]
    lane.client.hset(lane.key("p:processed"), mapping=dict.fromkeys(names, "[1]"))
    lane.client.hset(lane.key("p:failed"), mapping=dict.fromkeys(names, "boom"))
    lane.client.sadd(lane.key("p:dependencies"), *names)
    async with open_store(redis_url) as store:
        told = [json.loads(await store.children(claim, one)) for one in AskedOfChildren]
    assert told == [{name: [1] for name in names}, dict.fromkeys(names, "boom"), sorted(names)]


async def test_more_than_a_job_can_be_told_is_not_read(
    lane: Lane, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "MAX_DATA_BYTES", 1000)
    claim = lane.claim_new("p")
    names = [f"bull:a:{at}" for at in range(20 * PAGE)]
    lane.client.hset(lane.key("p:processed"), mapping=dict.fromkeys(names, "1"))
    async with open_store(redis_url) as store:
        with pytest.raises(DataTooLarge) as raised:
            await store.children(claim, AskedOfChildren.VALUES)
    assert raised.value.size_bytes < 2 * PAGE * len("bull:a:10000")


@pytest.mark.parametrize("value", [b"nonsense", b"1 2", b'"\xff"', b"[" * 100_000, b""])
async def test_value_that_is_no_json_is_an_error_that_names_the_child(
    lane: Lane, redis_url: str, value: bytes
) -> None:
    claim = lane.claim_new("p")
    lane.client.hset(lane.key("p:processed"), "bull:a:1", value)
    async with open_store(redis_url) as store:
        with pytest.raises(InvalidJobData, match="bull:a:1"):
            await store.children(claim, AskedOfChildren.VALUES)
