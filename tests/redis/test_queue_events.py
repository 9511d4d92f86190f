"""`QueueEvents`: every event once, in order, whatever becomes of the connection and the server."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fault_proxy import FaultProxy
from tests.support.waiting import until
from toril.errors import InvalidInput, InvalidOption, RedisRefused, RedisUnavailable
from toril.runtime.following import AsyncQueueEvents, QueueEvents
from toril.runtime.queue import Queue
from toril.runtime.queue_events import (
    ActiveEvent,
    AddedEvent,
    CleanedEvent,
    CompletedEvent,
    CustomEvent,
    DebouncedEvent,
    DeduplicatedEvent,
    DelayedEvent,
    DrainedEvent,
    DuplicatedEvent,
    FailedEvent,
    PausedEvent,
    ProgressEvent,
    QueueEvent,
    RemovedEvent,
    ResumedEvent,
    RetriesExhaustedEvent,
    StalledEvent,
    WaitingChildrenEvent,
    WaitingEvent,
    parse_event,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.lane import Lane
    from tests.support.servers import RedisServer

STREAM = [
    ({"event": "added", "jobId": "1", "name": "n"}, AddedEvent("7-0", "1", "n")),
    ({"event": "waiting", "jobId": "1"}, WaitingEvent("7-0", "1", "")),
    ({"event": "waiting", "jobId": "1", "prev": "failed"}, WaitingEvent("7-0", "1", "failed")),
    ({"event": "delayed", "jobId": "1", "delay": "1795"}, DelayedEvent("7-0", "1", 1795)),
    ({"event": "delayed", "jobId": "1", "delay": "x"}, DelayedEvent("7-0", "1", 0)),
    ({"event": "waiting-children", "jobId": "1"}, WaitingChildrenEvent("7-0", "1", "")),
    ({"event": "active", "jobId": "1", "prev": "waiting"}, ActiveEvent("7-0", "1", "waiting")),
    ({"event": "progress", "jobId": "1", "data": '{"a":1}'}, ProgressEvent("7-0", "1", {"a": 1})),
    ({"event": "progress", "jobId": "1", "data": "{"}, ProgressEvent("7-0", "1", None)),
    (
        {"event": "completed", "jobId": "1", "returnvalue": "[1]", "prev": "active"},
        CompletedEvent("7-0", "1", [1], "active"),
    ),
    ({"event": "completed", "jobId": "1"}, CompletedEvent("7-0", "1", None, "")),
    (
        {"event": "failed", "jobId": "1", "failedReason": "boom", "prev": "active"},
        FailedEvent("7-0", "1", "boom", "active"),
    ),
    (
        {"event": "retries-exhausted", "jobId": "1", "attemptsMade": "3"},
        RetriesExhaustedEvent("7-0", "1", 3),
    ),
    ({"event": "stalled", "jobId": "1"}, StalledEvent("7-0", "1")),
    ({"event": "drained"}, DrainedEvent("7-0")),
    ({"event": "paused"}, PausedEvent("7-0")),
    ({"event": "resumed"}, ResumedEvent("7-0")),
    ({"event": "removed", "jobId": "1", "prev": "wait"}, RemovedEvent("7-0", "1", "wait")),
    ({"event": "cleaned", "count": "5"}, CleanedEvent("7-0", 5)),
    ({"event": "duplicated", "jobId": "1"}, DuplicatedEvent("7-0", "1")),
    (
        {"event": "deduplicated", "jobId": "1", "deduplicationId": "d", "deduplicatedJobId": "2"},
        DeduplicatedEvent("7-0", "1", "d", "2"),
    ),
    (
        {"event": "debounced", "jobId": "1", "debounceId": "d"},
        DebouncedEvent("7-0", "1", "d"),
    ),
    ({"event": "hello", "to": "you"}, CustomEvent("7-0", "hello", {"to": "you"})),
    ({"no": "name"}, CustomEvent("7-0", "", {"no": "name"})),
    ({b"event": b"\xff", b"\xfe": b"\xfd"}, CustomEvent("7-0", "�", {"�": "�"})),
]


@pytest.mark.parametrize(("fields", "event"), STREAM)
def test_every_entry_is_an_event(fields: dict[Any, Any], event: QueueEvent) -> None:
    stored = {_bytes(name): _bytes(value) for name, value in fields.items()}
    assert parse_event("7-0", stored) == event


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def numbers(lane: Lane, first: int, last: int) -> None:
    for number in range(first, last):
        lane.client.xadd(lane.key("events"), {"event": "number", "n": number})


def take(events: QueueEvents, count: int) -> list[int]:
    return [int(next(events).fields["n"]) for _ in range(count)]  # type: ignore[union-attr]


@pytest.fixture
def side() -> Any:
    with ThreadPoolExecutor() as pool:
        yield pool


def test_events_begin_when_the_reader_is_entered(lane: Lane, redis_url: str) -> None:
    numbers(lane, 0, 3)
    with QueueEvents("lane", redis=redis_url) as events:
        numbers(lane, 3, 6)
        assert take(events, 3) == [3, 4, 5]


def test_reader_of_an_empty_queue_sees_its_first_event(redis_url: str) -> None:
    with QueueEvents("lane", redis=redis_url) as events, Queue("lane", redis=redis_url) as queue:
        job = queue.add("n")
        assert next(events) == AddedEvent(events.last_event_id, job.id, "n")
        assert next(events) == WaitingEvent(events.last_event_id, job.id, "")


def test_reader_goes_on_after_the_event_it_is_given(lane: Lane, redis_url: str) -> None:
    numbers(lane, 0, 500)
    with QueueEvents("lane", redis=redis_url, last_event_id="0-0") as events:
        assert take(events, 203) == list(range(203))
        where = events.last_event_id
    with QueueEvents("lane", redis=redis_url, last_event_id=where) as events:
        assert take(events, 297) == list(range(203, 500))


@pytest.mark.parametrize("where", ["$", "-1", "99-", "1_0", " 5", "0-0-0", "٣", "1" * 20])
def test_what_redis_takes_for_no_id_is_refused_at_once(where: str) -> None:
    with pytest.raises(InvalidOption, match="last_event_id is"):
        QueueEvents("lane", last_event_id=where)


def test_blocked_reader_gets_an_event_at_once(lane: Lane, redis_url: str, side: Any) -> None:
    with QueueEvents("lane", redis=redis_url) as events:
        waiting = side.submit(take, events, 1)
        until(lambda: lane.client.info("clients")["blocked_clients"])
        numbers(lane, 7, 8)
        assert waiting.result(5) == [7]


def test_cut_connections_lose_and_repeat_nothing(
    lane: Lane, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    numbers(lane, 0, 1000)
    with (
        FaultProxy(redis_server.socket_path, tmp_path_factory.mktemp("p")) as proxy,
        QueueEvents("lane", redis=proxy.url, last_event_id="0-0") as events,
    ):
        seen: list[int] = []
        for _ in range(5):
            proxy.cut(1)
            seen += take(events, 200)
        assert proxy.were_cut >= 4
    assert seen == list(range(1000))


def test_killed_connection_while_blocked_goes_on(lane: Lane, redis_url: str, side: Any) -> None:
    with QueueEvents("lane", redis=redis_url) as events:
        waiting = side.submit(take, events, 2)
        until(lambda: lane.client.info("clients")["blocked_clients"])
        lane.client.client_kill_filter(_type="normal", skipme=True)
        numbers(lane, 1, 3)
        assert waiting.result(10) == [1, 2]


@pytest.mark.servers("valkey")
def test_restarted_server_is_followed(private_server: Callable[..., RedisServer]) -> None:
    server = private_server()
    with (
        QueueEvents("lane", redis=server.url) as events,
        Queue("lane", redis=server.url) as queue,
    ):
        queue.add("before")
        server.kill()
        server.start()
        queue.add("after")
        names = [event.name for event in (next(events) for _ in range(4)) if hasattr(event, "name")]
    assert names == ["before", "after"]


def test_stream_that_went_back_is_followed_from_where_it_is(lane: Lane, redis_url: str) -> None:
    """A server that came up without its newest data; or a queue that was obliterated."""
    ahead = "99999999999999-0"
    with QueueEvents("lane", redis=redis_url, last_event_id=ahead) as events:
        stop = threading.Event()

        def add() -> None:
            while not stop.wait(0.2):
                numbers(lane, 5, 6)

        adding = threading.Thread(target=add)
        adding.start()
        assert take(events, 1) == [5]
        stop.set()
        adding.join()


def test_reader_loses_patience_and_goes_on_later(
    private_server: Callable[..., RedisServer],
) -> None:
    server = private_server()
    with QueueEvents("lane", redis=server.url, patience="500ms") as events:
        with Queue("lane", redis=server.url) as queue:
            queue.add("a")
        server.kill()
        with pytest.raises(RedisUnavailable):
            next(events)
        server.start()
        assert next(events) == AddedEvent(events.last_event_id, "1", "a")


def test_refusal_is_not_waited_out(lane: Lane, redis_url: str) -> None:
    lane.client.set(lane.key("events"), "x")
    events = QueueEvents("lane", redis=redis_url)
    with pytest.raises(RedisRefused, match="WRONGTYPE"):
        next(events)
    events.close()


def test_closed_reader_ends(lane: Lane, redis_url: str, side: Any) -> None:
    events = QueueEvents("lane", redis=redis_url).open()
    waiting = side.submit(list, events)
    until(lambda: lane.client.info("clients")["blocked_clients"])
    events.close()
    assert waiting.result(10) == []
    assert list(events) == []
    name = b"bull:bGFuZQ==:qe"
    until(lambda: name not in str(lane.client.client_list()).encode())


def test_reader_is_named_as_bullmqs_are(lane: Lane, redis_url: str) -> None:
    with QueueEvents("lane", redis=redis_url):
        assert "bull:bGFuZQ==:qe" in {one["name"] for one in lane.client.client_list()}


async def test_async_reader_sees_the_same(lane: Lane, redis_url: str) -> None:
    numbers(lane, 0, 1)
    async with AsyncQueueEvents("lane", redis=redis_url) as events:
        numbers(lane, 1, 4)
        seen = []
        async for event in events:
            assert isinstance(event, CustomEvent)
            seen.append(event.fields["n"])
            if len(seen) == 3:
                break
        await events.close()
        assert [event async for event in events] == []
    assert seen == ["1", "2", "3"]


@pytest.mark.parametrize(
    "options",
    [{"last_event_id": "now"}, {"last_event_id": 5}, {"patience": 5}, {"prefix": ""}],
)
def test_bad_options_are_refused(options: dict[str, Any], redis_url: str) -> None:
    with pytest.raises(InvalidInput):
        QueueEvents("lane", redis=redis_url, **options)
