"""How long the oldest job of a queue could have run and did not."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from toril.runtime.depth import depth
from toril.runtime.drivers import BlockingDriver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.lane import Lane

MINUTE_MS = 60_000


@pytest.fixture
def driver(redis_url) -> Iterator[BlockingDriver]:
    driver = BlockingDriver(redis_url)
    yield driver
    driver.close()


def oldest_s(driver: BlockingDriver, lane: Lane) -> float:
    return driver.run(depth(lane.base)).oldest_waiting_s


def ago(ms: int) -> int:
    return int(time.time() * 1000) - ms


def test_an_empty_queue_has_none(lane: Lane, driver: BlockingDriver):
    found = driver.run(depth(lane.base))
    assert found.oldest_waiting_s == 0
    assert set(found.counts.values()) == {0}


def test_the_oldest_of_those_that_wait_counts(lane: Lane, driver: BlockingDriver):
    lane.wait("new", timestamp=ago(0))
    lane.wait("old", timestamp=ago(3 * MINUTE_MS))  # As a LIFO job: where others leave.
    lane.client.rpush(lane.key("wait"), lane.store("lifo", timestamp=ago(0)))
    lane.client.lrem(lane.key("wait"), 0, "old")
    lane.client.lpush(lane.key("wait"), "old")
    assert 180 <= oldest_s(driver, lane) < 200
    assert driver.run(depth(lane.base)).counts["waiting"] == 3


def test_prioritized_jobs_count_too(lane: Lane, driver: BlockingDriver):
    lane.prioritize("urgent", 1, timestamp=ago(MINUTE_MS))
    lane.wait("new", timestamp=ago(0))
    assert 60 <= oldest_s(driver, lane) < 80


def test_a_delay_is_no_waiting_and_neither_is_an_attempt(lane: Lane, driver: BlockingDriver):
    """A job that was due a minute ago waits for a minute, however long ago it was added."""
    opts = json.dumps({"delay": 9 * MINUTE_MS, "other": [1]})
    lane.wait("was delayed", timestamp=ago(10 * MINUTE_MS), opts=opts)
    assert 60 <= oldest_s(driver, lane) < 80
    lane.client.delete(lane.key("wait"))
    lane.wait("retried", timestamp=ago(10 * MINUTE_MS), processedOn=ago(MINUTE_MS))
    assert 60 <= oldest_s(driver, lane) < 80


@pytest.mark.parametrize(
    "opts", ["", "null", "[", '{"delay":"soon"}', '{"delay":1e400}', "[" * 60_000, "x" * 70_000]
)
def test_options_of_others_spoil_nothing(lane: Lane, driver: BlockingDriver, opts: str):
    lane.wait("odd", timestamp=ago(MINUTE_MS), opts=opts)
    lane.client.rpush(lane.key("wait"), "ghost")
    assert 60 <= oldest_s(driver, lane) < 80


def test_a_clock_that_is_ahead_makes_no_negative_age(lane: Lane, driver: BlockingDriver):
    lane.wait("future", timestamp=ago(-MINUTE_MS))
    assert oldest_s(driver, lane) == 0
