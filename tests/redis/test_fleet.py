"""Records of supervisors in Redis: they live as long as their beats, and nobody scans for them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.keyspace import unchanged_keyspace
from toril.errors import RedisRefused
from toril.runtime.drivers import BlockingDriver
from toril.runtime.fleet import Sighting, beat, beat_all, fleet, leave, worked_queues
from toril.runtime.keys import client_name, key_base

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from tests.support.lane import Lane

A, B = "a" * 32, "b" * 32
LIVES_MS = 30_000


@pytest.fixture
def driver(redis_url) -> Iterator[BlockingDriver]:
    driver = BlockingDriver(redis_url)
    yield driver
    driver.close()


def records(driver: BlockingDriver, base: str) -> dict[str, bytes]:
    return {one.nonce: one.record for one in driver.run(fleet(base))}


def test_a_record_is_found_replaced_and_left(lane: Lane, driver: BlockingDriver):
    other = key_base("bull", "other")
    driver.run(beat_all({lane.base: b"1", other: b"2"}, A, LIVES_MS))
    driver.run(beat_all({lane.base: b"3"}, B, LIVES_MS))
    driver.run(beat_all({lane.base: b"4"}, A, LIVES_MS))

    assert records(driver, lane.base) == {B: b"3", A: b"4"}
    assert records(driver, other) == {A: b"2"}
    driver.run(leave([lane.base, other], A))
    assert records(driver, lane.base) == {B: b"3"}
    assert lane.client.keys("bull:other:*") == []


def test_everything_dies_with_the_last_beat(lane: Lane, driver: BlockingDriver):
    lane.run(beat(lane.base, A, b"1", 50))
    index, record = lane.key("toril:fleet"), lane.key(f"toril:fleet:{A}")
    assert 0 < lane.client.pttl(index) <= 50
    assert 0 < lane.client.pttl(record) <= 50
    while lane.client.exists(index, record):
        pass
    assert driver.run(fleet(lane.base)) == []


def test_ids_of_the_dead_leave_the_index_at_anothers_beat(lane: Lane, driver: BlockingDriver):
    lane.run(beat(lane.base, A, b"1", LIVES_MS, now_ms=lane.now_ms))
    lane.run(beat(lane.base, B, b"2", LIVES_MS, now_ms=lane.now_ms + LIVES_MS))
    assert lane.ids("toril:fleet") == [B]
    assert records(driver, lane.base) == {B: b"2"}


def test_an_id_whose_record_is_gone_is_left_out(lane: Lane, driver: BlockingDriver):
    driver.run(beat_all({lane.base: b"1"}, A, LIVES_MS))
    lane.client.delete(lane.key(f"toril:fleet:{A}"))
    assert driver.run(fleet(lane.base)) == []


def test_ages_are_by_the_servers_clock(lane: Lane, driver: BlockingDriver):
    driver.run(beat_all({lane.base: b"1"}, A, LIVES_MS))
    (sighting,) = driver.run(fleet(lane.base))
    assert sighting == Sighting(A, b"1", sighting.seen_ms, sighting.now_ms)
    seconds, _us = lane.client.time()
    assert 0 <= sighting.now_ms - sighting.seen_ms < 20_000
    assert abs(sighting.now_ms / 1000 - seconds) < 20


def test_a_key_that_something_else_has_taken_refuses_the_beat(lane: Lane, driver: BlockingDriver):
    lane.client.set(lane.key("toril:fleet"), "x")
    with unchanged_keyspace(lane.client), pytest.raises(RedisRefused, match="WRONGTYPE"):
        driver.run(beat_all({lane.base: b"1"}, A, LIVES_MS))


def test_a_full_server_takes_beats(lane: Lane, driver: BlockingDriver):
    """An operator looks when the server is full."""
    lane.client.config_set("maxmemory", "1")
    try:
        driver.run(beat_all({lane.base: b"1"}, A, LIVES_MS))
        assert records(driver, lane.base) == {A: b"1"}
    finally:
        lane.client.config_set("maxmemory", "0")


@pytest.mark.parametrize("worker", ["", "host-7"])
def test_queues_are_found_by_the_names_of_their_workers_connections(
    redis_client: redis.Redis, driver: BlockingDriver, worker: str
):
    names = (
        client_name("bull", "images-ü", worker),
        client_name("other", "elsewhere", worker),
        "bull:not!base64",
        "bull:aW1hZ2Vz:something",
        "toril:bull:images",
    )
    with ExitStack() as connections:
        for name in names:
            one = connections.enter_context(redis_client.client())
            one.client_setname(name)
        found = driver.run(worked_queues("bull"))
    assert "images-ü" in found
    assert not {"elsewhere", "images"} & set(found)
