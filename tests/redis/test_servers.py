"""The test servers themselves: a harness that lies makes every other test worthless."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import uvloop

from tests.support.keyspace import differences, snapshot, unchanged_keyspace

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from tests.support.servers import RedisServer


def test_server_listens_on_a_private_unix_socket_only(redis_server: RedisServer):
    home = Path(redis_server.socket_path).parent

    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert len(os.fsencode(redis_server.socket_path)) < 107
    assert psutil.Process(redis_server.pid).net_connections("inet") == []


@pytest.mark.parametrize("leftover", ["first", "second"])
def test_database_is_empty_at_the_start_of_a_test(redis_client: redis.Redis, leftover: str):
    assert redis_client.dbsize() == 0
    redis_client.set(leftover, "x")


def test_snapshot_reads_every_type(redis_client: redis.Redis):
    redis_client.set("s", "1", px=60_000)
    redis_client.rpush("l", "a", "b")
    redis_client.sadd("set", "m")
    redis_client.zadd("z", {"m": 1.5})
    redis_client.hset("h", "f", "v")
    redis_client.xadd("x", {"event": "e"}, id="1-1")

    found = {name: (e.kind, e.value, e.expires) for name, e in snapshot(redis_client).items()}

    assert found == {
        "h": ("hash", {b"f": b"v"}, False),
        "l": ("list", [b"a", b"b"], False),
        "s": ("string", b"1", True),
        "set": ("set", {b"m"}, False),
        "x": ("stream", [(b"1-1", {b"event": b"e"})], False),
        "z": ("zset", {b"m": 1.5}, False),
    }


def test_unchanged_keyspace_notices_a_lost_expiry(redis_client: redis.Redis):
    redis_client.set("k", "v", px=60_000)
    before = snapshot(redis_client)

    with pytest.raises(AssertionError), unchanged_keyspace(redis_client):
        redis_client.persist("k")

    assert list(differences(before, snapshot(redis_client))) == ["k"]


def test_private_server_comes_back_with_its_data_after_a_kill(
    private_server: Callable[..., RedisServer], server_kind: str
):
    server = private_server(server_kind)
    with server.connect() as client:
        client.set("k", "v")

    server.kill()
    server.start()

    with server.connect() as client:
        assert client.get("k") == b"v"


async def test_coroutine_tests_run_under_uvloop():
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
