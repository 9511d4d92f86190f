"""Events of a caller's own: read back as they were sent, and never mistaken for the queue's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.keyspace import unchanged_keyspace
from toril.errors import InvalidInput
from toril.runtime.following import QueueEvents
from toril.runtime.publishing import (
    MAX_FIELDS,
    RESERVED,
    AsyncQueueEventsProducer,
    QueueEventsProducer,
)
from toril.runtime.queue_events import CustomEvent

if TYPE_CHECKING:
    import redis


def test_event_is_read_as_it_was_sent(redis_url: str) -> None:
    with (
        QueueEvents("lane", redis=redis_url) as events,
        QueueEventsProducer("lane", redis=redis_url) as producer,
    ):
        first = producer.publish_event("paid", {"jobId": "é", "n": 3, "share": 0.5, "empty": ""})
        second = producer.publish_event("bare")
        assert next(events) == CustomEvent(
            first, "paid", {"jobId": "é", "n": "3", "share": "0.5", "empty": ""}
        )
        assert next(events) == CustomEvent(second, "bare", {})


async def test_the_same_for_asyncio(redis_url: str, redis_client: redis.Redis) -> None:
    async with AsyncQueueEventsProducer("lane", redis=redis_url) as producer:
        assert "lane" in repr(producer)
        event_id = await producer.publish_event("paid", {"n": 1})
    ((found, fields),) = redis_client.xrange("bull:lane:events")
    assert (found.decode(), fields) == (event_id, {b"event": b"paid", b"n": b"1"})


def test_stream_is_held_near_the_length_asked_for(
    redis_url: str, redis_client: redis.Redis
) -> None:
    with QueueEventsProducer("lane", redis=redis_url) as producer:
        for number in range(400):
            producer.publish_event("tick", {"n": number}, max_events=100)
    assert 100 <= redis_client.xlen("bull:lane:events") <= 200


@pytest.mark.parametrize(
    ("event", "fields", "options"),
    [
        *[(name, {}, {}) for name in sorted(RESERVED)],
        ("", {}, {}),
        (None, {}, {}),
        ("\ud800", {}, {}),
        ("x", {"event": "completed"}, {}),
        ("x", {"a": {"b": 1}}, {}),
        ("x", {"a": True}, {}),
        ("x", {"a": None}, {}),
        ("x", {"": "a"}, {}),
        ("x", {1: "a"}, {}),
        ("x", {"a": "\ud800"}, {}),
        ("x", {str(n): "a" for n in range(MAX_FIELDS + 1)}, {}),
        ("x", {}, {"max_events": 0}),
    ],
    ids=str,
)
def test_what_could_mislead_a_reader_is_refused(
    event: Any, fields: Any, options: Any, redis_url: str, redis_client: redis.Redis
) -> None:
    with (
        QueueEventsProducer("lane", redis=redis_url) as producer,
        unchanged_keyspace(redis_client),
        pytest.raises(InvalidInput),
    ):
        producer.publish_event(event, fields, **options)
