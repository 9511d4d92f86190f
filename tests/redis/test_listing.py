"""Looking at a queue: by pages, by numbers, and whatever somebody has left in it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from toril.errors import InvalidInput, RedisRefused
from toril.runtime.inspecting import Metrics
from toril.runtime.keys import client_name
from toril.runtime.listing import JobLogs
from toril.runtime.queue import AsyncQueue, Queue
from toril.runtime.reading import STATES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.lane import Lane
    from tests.support.servers import RedisServer

LISTS = ("waiting", "active", "paused")
SETS = ("delayed", "prioritized", "completed", "failed", "waiting-children")


@pytest.fixture
def queue(redis_url: str) -> Iterator[Queue]:
    with Queue("lane", redis=redis_url) as opened:
        yield opened


def put(lane: Lane, state: str, *ids: str) -> None:
    """Jobs of one state, the one that runs or ran first in front."""
    name = "wait" if state == "waiting" else state
    for number, job_id in enumerate(ids):
        lane.store(job_id)
        if state in LISTS:
            lane.client.lpush(lane.key(name), job_id)
        else:
            lane.client.zadd(lane.key(name), {job_id: number})


@pytest.mark.parametrize("state", LISTS + SETS)
def test_ranges_are_bullmqs_in_both_directions(lane: Lane, queue: Queue, state: str) -> None:
    put(lane, state, "a", "b", "c", "d")

    def ids(*args: int, ascending: bool) -> list[str]:
        return [job.id for job in queue.get_jobs(state, *args, ascending=ascending)]

    assert ids(ascending=True) == ["a", "b", "c", "d"]
    assert ids(ascending=False) == ["d", "c", "b", "a"]
    assert ids(1, 2, ascending=True) == ["b", "c"]
    assert ids(0, 0, ascending=False) == ["d"]
    assert ids(2, 99, ascending=False) == ["b", "a"]
    assert ids(9, 12, ascending=True) == []
    assert queue.get_job_state("a") == ("waiting" if state == "paused" else state)


def test_some_states_are_listed_one_after_the_other(lane: Lane, queue: Queue) -> None:
    put(lane, "waiting", "w1", "w2")
    put(lane, "failed", "f1", "f2")
    assert [job.id for job in queue.get_jobs(["failed", "wait", "failed"])] == [
        *("f2", "f1", "w2", "w1")
    ]
    assert queue.get_jobs([]) == []
    every = {job.id for state in STATES for job in queue.get_jobs(state)}
    assert {job.id for job in queue.get_jobs()} == {job.id for job in queue.iter_jobs()} == every


def test_what_cannot_be_read_does_not_break_a_listing(lane: Lane, queue: Queue) -> None:
    put(lane, "failed", "good", "broken", "gone", "taken", "last")
    lane.client.hset(lane.key("broken"), mapping={"data": b"\xff{", "opts": "[", "name": b"\xfe"})
    lane.client.delete(lane.key("gone"), lane.key("taken"))
    lane.client.set(lane.key("taken"), "no hash")
    lane.client.zadd(lane.key("failed"), {b"\xff\xfe": 9})
    assert [job.id for job in queue.get_jobs("failed")] == ["last", "broken", "good"]
    assert [job.id for job in queue.iter_jobs("failed", page=2)] == ["last", "broken", "good"]


def test_key_of_another_type_is_an_error_that_says_so(lane: Lane, queue: Queue) -> None:
    lane.client.set(lane.key("failed"), "x")
    with pytest.raises(RedisRefused, match="WRONGTYPE"):
        queue.get_jobs("failed")


@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("page", [1, 7, 100])
def test_walk_sees_every_job_once(lane: Lane, queue: Queue, page: int, *, ascending: bool) -> None:
    put(lane, "waiting", *[f"w{number}" for number in range(20)])
    put(lane, "failed", *[f"f{number}" for number in range(21)])
    seen = [
        job.id for job in queue.iter_jobs(["waiting", "failed"], ascending=ascending, page=page)
    ]
    expected = [f"w{number}" for number in range(20)], [f"f{number}" for number in range(21)]
    assert seen == [one for ids in expected for one in (ids if ascending else ids[::-1])]


def test_walk_sees_no_job_twice_that_new_ones_push_on(lane: Lane, queue: Queue) -> None:
    put(lane, "waiting", *[f"w{number}" for number in range(9)])
    walk = queue.iter_jobs("waiting", page=3)
    seen = [next(walk).id for _ in range(3)]
    put(lane, "waiting", "new-1", "new-2")
    seen += [job.id for job in walk]
    assert seen == [f"w{number}" for number in reversed(range(9))]


def test_walk_reads_only_as_far_as_it_is_asked(lane: Lane, queue: Queue) -> None:
    put(lane, "completed", *[f"c{number}" for number in range(50)])
    lane.client.config_resetstat()
    next(queue.iter_jobs("completed", page=10))
    assert lane.client.info("commandstats")["cmdstat_hgetall"]["calls"] == 10


async def test_async_queues_list_the_same(lane: Lane, redis_url: str) -> None:
    put(lane, "failed", *[f"f{number}" for number in range(5)])
    async with AsyncQueue("lane", redis=redis_url) as queue:
        assert [job.id for job in await queue.get_jobs("failed", 0, 1)] == ["f4", "f3"]
        assert [job.id async for job in queue.iter_jobs("failed", page=2)] == [
            *("f4", "f3", "f2", "f1", "f0")
        ]


@pytest.mark.parametrize(
    ("args", "ascending", "logs"),
    [
        ((), True, ["0", "1", "2", "3", "4"]),
        ((), False, ["4", "3", "2", "1", "0"]),
        ((1, 2), True, ["1", "2"]),
        ((1, 2), False, ["3", "2"]),
        ((3, 99), True, ["3", "4"]),
        ((3, 99), False, ["1", "0"]),
        ((9, 12), True, []),
    ],
)
def test_logs_are_read_by_pages(
    queue: Queue, args: tuple[int, ...], logs: list[str], *, ascending: bool
) -> None:
    job = queue.add("a")
    for number in range(5):
        queue.add_job_log(job.id, str(number))
    assert queue.get_job_logs(job.id, *args, ascending=ascending) == JobLogs(logs, 5)
    assert job.logs(*args, ascending=ascending) == logs
    job.clear_logs(2)
    assert job.logs() == ["3", "4"]
    job.clear_logs()
    assert queue.get_job_logs(job.id) == JobLogs([], 0)
    assert queue.get_job_logs("meta") == JobLogs([], 0)


def test_counts_per_priority(queue: Queue) -> None:
    for priority in (0, 0, 1, 2, 2, 2, 2_097_151):
        queue.add("a", priority=priority)
    expected = {0: 2, 1: 1, 2: 3, 3: 0, 2_097_151: 1}
    assert queue.get_counts_per_priority(expected) == expected
    assert queue.get_counts_per_priority([]) == {}


def test_delayed_jobs_are_counted_until_a_time(lane: Lane, queue: Queue) -> None:
    for number in range(3):
        lane.delay(f"d{number}", lane.now_ms + number)
    lane.client.zadd(lane.key("delayed"), {"same-ms": (lane.now_ms + 1) * 4096 + 7})
    assert queue.get_delayed_count() == 4
    assert [queue.get_delayed_count(lane.now_ms + number) for number in range(4)] == [0, 1, 3, 4]
    assert queue.get_delayed_count(datetime(2039, 1, 1, tzinfo=UTC)) == 4


def test_metrics_are_read(lane: Lane, queue: Queue) -> None:
    assert queue.get_metrics() == Metrics(0, 0, 0, [], 0)
    lane.client.hset(lane.key("metrics:failed"), mapping={"count": 9, "prevTS": 17, "prevCount": 8})
    lane.client.rpush(lane.key("metrics:failed:data"), 5, 0, 3)
    assert queue.get_metrics("failed") == Metrics(9, 17, 8, [5, 0, 3], 3)
    assert queue.get_metrics("failed", 1, 1).data == [0]


def test_workers_are_found_by_their_connections(redis_server: RedisServer, queue: Queue) -> None:
    names = [
        client_name("bull", "lane"),
        client_name("bull", "lane", "host-1"),
        client_name("bull", "lane") + ":qe",
        client_name("bull", "other", "host-2"),
    ]
    clients = [Redis(unix_socket_path=redis_server.socket_path, client_name=name) for name in names]
    for client in clients:
        client.ping()
    workers = queue.get_workers()
    for client in clients:
        client.close()
    assert sorted((worker.name, worker.raw_name) for worker in workers) == [
        ("", names[0]),
        ("host-1", names[1]),
    ]
    assert all(worker.age_s >= 0 and worker.fields["id"] for worker in workers)


@pytest.mark.parametrize(
    "act",
    [
        lambda queue: queue.get_jobs("repeat"),
        lambda queue: list(queue.iter_jobs("nothing")),
        lambda queue: list(queue.iter_jobs("failed", page=0)),
        lambda queue: queue.get_counts_per_priority([1.5]),
        lambda queue: queue.get_delayed_count("soon"),
        lambda queue: queue.get_metrics("waiting"),
        lambda queue: queue.get_job_state(7),
    ],
)
def test_what_cannot_be_listed_is_refused(queue: Queue, act: object) -> None:
    with pytest.raises(InvalidInput):
        act(queue)  # type: ignore[operator]
