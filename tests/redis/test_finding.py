"""Queues are found by their keys, whoever made them."""

from __future__ import annotations

from contextlib import closing

import pytest

from toril import Queue
from toril.errors import InvalidOption
from toril.runtime import finding
from toril.runtime.drivers import BlockingDriver
from toril.runtime.finding import find_queues
from toril.runtime.limiter import RateLimit


@pytest.fixture
def found(redis_url):
    def found(prefix="bull"):
        with closing(BlockingDriver(redis_url)) as driver:
            return driver.run(find_queues(prefix))

    return found


def test_queues_of_a_prefix_are_found_and_nothing_else(redis_url, redis_client, found):
    for name in ("mail", "images"):
        with Queue(name, redis=redis_url) as queue:
            queue.add("a", job_id="made")
    with Queue("other", redis=redis_url, prefix="bull:eu") as queue:
        queue.add("a")
    redis_client.incr("bull:only-ids:id")
    redis_client.set("bull:mail:made:meta", "")
    redis_client.set(b"bull:\xff:meta", "")
    redis_client.set("bull::meta", "")
    redis_client.set("bullxmail:meta", "")
    assert found().names == ["images", "mail", "only-ids"]
    assert found().is_complete
    assert found("bull:eu").names == ["other"]


def test_a_prefix_is_no_pattern(redis_url, found):
    with Queue("q", redis=redis_url, prefix="{b}[1]*") as queue:
        queue.add("a")
    with Queue("q", redis=redis_url, prefix="{b}1x") as queue:
        queue.add("a")
    assert found("{b}[1]*").names == ["q"]
    assert found("b*").names == []


def test_a_search_ends_in_a_database_that_does_not(redis_client, found, monkeypatch):
    monkeypatch.setattr(finding, "MAX_SCANS", 1)
    monkeypatch.setattr(finding, "KEYS_PER_SCAN", 1)
    redis_client.mset({f"key-{number}": "" for number in range(1000)})
    assert not found().is_complete


def test_no_prefix_is_refused(found):
    with pytest.raises(InvalidOption):
        found("")


def test_the_limit_in_force_can_be_asked_for(redis_url):
    with Queue("q", redis=redis_url) as queue:
        assert queue.get_rate_limit() is None
        queue.set_rate_limit(200, "60s", burst=20)
        assert queue.get_rate_limit() == RateLimit(200, 60_000, 20)
        queue.remove_rate_limit()
        assert queue.get_rate_limit() is None
