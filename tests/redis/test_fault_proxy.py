"""The fault proxy itself: every fault is made, and nothing else is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import redis

from tests.support.fault_proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers import RedisServer


@pytest.fixture(params=["unix", "tcp"])
def proxy(
    redis_server: RedisServer, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[FaultProxy]:
    directory = tmp_path if request.param == "unix" else None
    with FaultProxy(redis_server.socket_path, directory) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[redis.Redis]:
    """A warm client that tries nothing twice."""
    retry = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    with redis.Redis.from_url(proxy.url, retry=retry, socket_timeout=0.5) as client:
        client.ping()
        yield client


def test_without_a_fault_everything_passes(client: redis.Redis) -> None:
    value = b"x" * 1_000_000
    client.set("k", value)
    assert client.get("k") == value


@pytest.mark.parametrize("fault", ["cut", "cut_in_reply"])
def test_cut_request_is_executed_and_its_reply_lost(
    proxy: FaultProxy, client: redis.Redis, redis_client: redis.Redis, fault: str
) -> None:
    getattr(proxy, fault)()
    with pytest.raises(redis.ConnectionError):
        client.incr("k")
    assert redis_client.get("k") == b"1"
    assert proxy.were_cut == 1
    assert client.incr("k") == 2


def test_half_of_a_large_reply_gets_through(proxy: FaultProxy, client: redis.Redis) -> None:
    client.set("k", b"x" * 10_000)
    proxy.cut_in_reply()
    connection = client.connection_pool.get_connection()
    connection.send_command("GET", "k")
    half = connection._sock.recv(20_000)
    assert 0 < len(half) < 10_000
    assert connection._sock.recv(1) == b""
    connection.disconnect()
    client.connection_pool.release(connection)


def test_delayed_reply_comes_later(proxy: FaultProxy, client: redis.Redis) -> None:
    proxy.delay(0.1)
    began = time.monotonic()
    client.ping()
    assert time.monotonic() - began >= 0.1
    proxy.delay(5)
    with pytest.raises(redis.TimeoutError):
        client.ping()


def test_blackhole_swallows_requests_until_it_heals(
    proxy: FaultProxy, client: redis.Redis, redis_client: redis.Redis
) -> None:
    proxy.blackhole()
    with pytest.raises(redis.TimeoutError):
        client.incr("k")
    assert redis_client.get("k") is None
    proxy.heal()
    assert client.incr("k") == 1


def test_reset_ends_idle_and_waiting_connections(proxy: FaultProxy, client: redis.Redis) -> None:
    connection = client.connection_pool.get_connection()
    connection.send_command("BLPOP", "nothing", 10)
    proxy.reset()
    with pytest.raises(redis.ConnectionError):
        connection.read_response()
    client.connection_pool.release(connection)
    assert client.ping()


def test_bandwidth_slows_replies_down(proxy: FaultProxy, client: redis.Redis) -> None:
    client.set("k", b"x" * 10_000)
    proxy.bandwidth(100_000)
    began = time.monotonic()
    assert len(client.get("k")) == 10_000
    assert time.monotonic() - began >= 0.09
