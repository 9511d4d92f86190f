"""Connections that are driven by us: every reply goes to its caller, and faults to all of them."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.support.waiting import until
from toril.runtime.connection import open_async_pool, open_pool
from toril.runtime.drivers import MAX_SHARED_BYTES
from toril.runtime.exchanging import SharedWire
from toril.runtime.queue import AsyncQueue, Queue
from toril.runtime.resp import packed
from toril.runtime.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from tests.support.servers import RedisServer

MANY = 200


def command(*words: str | int) -> bytes:
    return packed([words])


@asynccontextmanager
async def shared(url: str, options: str = "") -> AsyncIterator[SharedWire]:
    """A wire that tasks share, ended with the test."""
    wire = SharedWire(open_async_pool(f"{url}{options}"))
    try:
        yield wire
    finally:
        await wire.close()


def clients(client: redis.Redis) -> set[str]:
    """Ids of the connections of others."""
    return {one["id"] for one in client.client_list()} - {str(client.client_id())}


async def test_tasks_that_ask_at_once_share_a_connection_and_get_their_own_replies(
    redis_url: str, redis_client: redis.Redis
) -> None:
    async with shared(redis_url) as wire:
        before = clients(redis_client)
        replies = await asyncio.gather(*(wire.ask(command("ECHO", n)) for n in range(MANY)))
        assert replies == [b"%d" % n for n in range(MANY)]
        assert len(clients(redis_client) - before) == 1


async def test_the_reply_to_a_cancelled_task_is_nobody_elses(redis_url: str) -> None:
    """The connection goes on: the reply's place in the line is kept, and nobody waits there."""
    async with shared(redis_url) as wire:
        name = await wire.ask(command("CLIENT", "ID"))
        for n in range(MANY):
            lost = asyncio.create_task(wire.ask(command("ECHO", f"lost {n}")))
            await asyncio.sleep(0)
            lost.cancel()
            assert await wire.ask(command("ECHO", n)) == b"%d" % n
            assert lost.cancelled()
        assert await wire.ask(command("CLIENT", "ID")) == name


async def test_an_error_is_the_reply_of_its_command_alone(redis_url: str) -> None:
    async with shared(redis_url) as wire:
        wrong, right = await asyncio.gather(
            wire.ask(command("NO-SUCH-COMMAND")), wire.ask(command("ECHO", "b"))
        )
        assert isinstance(wrong, redis.ResponseError)
        assert right == b"b"


async def test_a_server_that_says_nothing_fails_all_who_wait_in_time(
    redis_server: RedisServer, redis_url: str
) -> None:
    async with shared(redis_url, "&socket_timeout=0.2") as wire:
        first = await wire.ask(command("CLIENT", "ID"))
        redis_server.freeze()
        try:
            asked = [wire.ask(command("ECHO", n)) for n in range(3)]
            ends = await asyncio.gather(*asked, return_exceptions=True)
        finally:
            redis_server.thaw()
        assert [type(end) for end in ends] == [redis.TimeoutError] * 3
        assert await wire.ask(command("CLIENT", "ID")) != first


async def test_an_idle_connection_outlives_its_timeout(redis_url: str) -> None:
    async with shared(redis_url, "&socket_timeout=0.05") as wire:
        first = await wire.ask(command("CLIENT", "ID"))
        passed = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, passed.set)
        await passed.wait()
        assert await wire.ask(command("CLIENT", "ID")) == first


async def test_who_waits_while_the_connection_is_killed_learns_of_it(
    redis_url: str, redis_client: redis.Redis
) -> None:
    async with shared(redis_url) as wire:
        first = await wire.ask(command("CLIENT", "ID"))
        asked = [asyncio.create_task(wire.ask(command("BLPOP", f"no{n}", 0))) for n in range(2)]
        await asyncio.to_thread(until, lambda: redis_client.info("clients")["blocked_clients"] == 1)
        redis_client.client_kill_filter(_id=str(first))
        ends = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(end) for end in ends] == [redis.ConnectionError] * 2
        assert await wire.ask(command("ECHO", "b")) == b"b"


async def test_a_reply_that_nobody_asked_for_ends_the_connection(
    redis_url: str, redis_client: redis.Redis
) -> None:
    async with shared(redis_url) as wire:
        first = await wire.ask(command("CLIENT", "ID"))
        await wire.ask(command("SUBSCRIBE", "channel"))
        redis_client.publish("channel", "news")
        await asyncio.to_thread(until, lambda: str(first) not in clients(redis_client))
        assert await wire.ask(command("ECHO", "b")) == b"b"


async def test_more_than_the_server_takes_waits_and_is_sent(
    redis_server: RedisServer, redis_url: str
) -> None:
    text = "x" * MAX_SHARED_BYTES
    async with shared(redis_url) as wire:
        await wire.ask(command("PING"))
        redis_server.freeze()
        try:
            asked = [asyncio.create_task(wire.ask(command("ECHO", text))) for _ in range(MANY)]
            await asyncio.sleep(0)
        finally:
            redis_server.thaw()
        assert set(await asyncio.gather(*asked)) == {text.encode()}


async def test_a_long_command_does_not_hold_up_short_ones(
    redis_url: str, redis_client: redis.Redis
) -> None:
    before = clients(redis_client)
    async with AsyncQueue("mail", redis=redis_url) as queue:
        await queue.add("short")
        await queue.add("long", "x" * MAX_SHARED_BYTES)
        assert len(clients(redis_client) - before) == 2


async def test_close_and_go_on(redis_url: str, redis_client: redis.Redis) -> None:
    before = clients(redis_client)
    async with AsyncQueue("mail", redis=redis_url) as queue:
        await queue.add("a")
        await queue.close()
        await asyncio.to_thread(until, lambda: clients(redis_client) == before)
        assert (await queue.add("b")).id == "2"


def test_a_connection_that_the_server_closed_meanwhile_is_replaced_at_once(
    redis_url: str, redis_client: redis.Redis
) -> None:
    with Queue("mail", redis=redis_url) as queue:
        queue.add("a")
        redis_client.client_kill_filter(_type="normal", skipme=True)
        assert queue.add("b").id == "2"


def test_a_blocking_connection_with_something_to_read_is_not_used(
    redis_url: str, redis_client: redis.Redis
) -> None:
    connection: Any = open_pool(redis_url).make_connection()
    connection.connect()
    with closing(Wire(connection)) as wire:
        assert wire.exchange(command("SUBSCRIBE", "channel"), 1)[0][0] == b"subscribe"
        assert wire.is_usable
        redis_client.publish("channel", "news")
        until(lambda: not wire.is_usable)


def test_a_blocking_connection_waits_as_long_as_it_was_told(redis_url: str) -> None:
    connection: Any = open_pool(f"{redis_url}&socket_timeout=0.1").make_connection()
    connection.connect()
    with closing(Wire(connection)) as wire:
        with pytest.raises(redis.TimeoutError):
            wire.exchange(command("BLPOP", "nothing", 5), 1)
        with pytest.raises(redis.TimeoutError):
            wire.exchange(command("ECHO", "x" * 50_000_000), 1)


def test_a_blocking_connection_is_closed_under_its_thread(
    redis_url: str, redis_client: redis.Redis
) -> None:
    connection: Any = open_pool(redis_url).make_connection()
    connection.connect()
    wire = Wire(connection)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(wire.exchange, command("BLPOP", "nothing", 5), 1)
        until(lambda: redis_client.info("clients")["blocked_clients"] > 0)
        wire.close()
        with pytest.raises((redis.ConnectionError, OSError)):
            waiting.result()


def test_replies_that_come_in_many_pieces(redis_url: str) -> None:
    text = "x" * 3_000_000
    connection: Any = open_pool(redis_url).make_connection()
    connection.connect()
    with closing(Wire(connection)) as wire:
        replies = wire.exchange(command("ECHO", text) + command("PING") + command("ECHO", text), 3)
    assert replies == [text.encode(), b"PONG", text.encode()]


_LOOPS = """
import asyncio, sys
from toril import AsyncQueue
queue = AsyncQueue("mail", redis=sys.argv[1])
async def add():
    return sorted(job.id for job in await asyncio.gather(*[queue.add("a") for _ in range(3)]))
print(*[asyncio.run(add()) for _ in range(3)])
"""

_FORK = """
import asyncio, os, sys
from toril import AsyncQueue
queue = AsyncQueue("mail", redis=sys.argv[1])
async def add():
    return (await queue.add("a")).id
async def main():
    first = await add()
    pid = os.fork()
    if not pid:
        os._exit(int(asyncio.run(add())))
    _, status = os.waitpid(pid, 0)
    print(first, os.waitstatus_to_exitcode(status), await add())
    await queue.close()
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("program", "said"),
    [(_LOOPS, "['1', '2', '3'] ['4', '5', '6'] ['7', '8', '9']"), (_FORK, "1 2 3")],
    ids=["event loops after each other", "a fork"],
)
def test_a_queue_serves(redis_url: str, redis_client: redis.Redis, program: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program, redis_url], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == (said, "")
    assert redis_client.get("bull:mail:id").decode() in said


ON_A_LOOP = [
    test_tasks_that_ask_at_once_share_a_connection_and_get_their_own_replies,
    test_the_reply_to_a_cancelled_task_is_nobody_elses,
    test_a_server_that_says_nothing_fails_all_who_wait_in_time,
    test_who_waits_while_the_connection_is_killed_learns_of_it,
    test_a_reply_that_nobody_asked_for_ends_the_connection,
    test_more_than_the_server_takes_waits_and_is_sent,
    test_close_and_go_on,
]


@pytest.mark.parametrize("scenario", ON_A_LOOP, ids=lambda one: one.__name__)
def test_on_the_standard_librarys_event_loop(
    scenario: Callable[..., Coroutine[Any, Any, None]],
    redis_server: RedisServer,
    redis_url: str,
    redis_client: redis.Redis,
) -> None:
    """The tests' coroutines run under uvloop, as the supervisor does; producers have their own."""
    given = {
        "redis_server": redis_server,
        "redis_url": redis_url,
        "redis_client": redis_client,
    }
    names = inspect.signature(scenario).parameters
    asyncio.run(scenario(**{name: given[name] for name in names}))
