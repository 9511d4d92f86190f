"""A job's children as an operator sees them, and how a parent stops waiting for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.support.keyspace import unchanged_keyspace
from toril.errors import InvalidInput, InvalidJobData, JobGone, JobNotRemovable
from toril.runtime.dependencies import Dependencies, remove_unprocessed, untie
from toril.runtime.queue import AsyncQueue, Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.lane import Lane
    from toril.runtime.command import Command
    from toril.runtime.job import Job

ACTS: dict[str, Callable[[str, str], Command[Any]]] = {
    "untie": untie,
    "remove-unprocessed": remove_unprocessed,
}


@pytest.fixture
def queue(redis_url: str) -> Iterator[Queue]:
    with Queue("lane", redis=redis_url) as opened:
        yield opened


def parent(lane: Lane, job_id: str = "p") -> str:
    lane.client.zadd(lane.key("waiting-children"), {lane.store(job_id): 1})
    return job_id


def child(lane: Lane, job_id: str, of: str = "p") -> str:
    lane.wait(job_id, parentKey=lane.key(of))
    lane.client.sadd(lane.key(f"{of}:dependencies"), lane.key(job_id))
    return job_id


def job(queue: Queue, job_id: str) -> Job:
    found = queue.get_job(job_id)
    assert found is not None
    return found


def fill(lane: Lane, count: int) -> None:
    """So many children of each kind."""
    parent(lane)
    for number in range(count):
        child(lane, f"open-{number}")
        lane.client.hset(lane.key("p:processed"), lane.key(f"done-{number}"), f'{{"n":{number}}}')
        lane.client.hset(lane.key("p:failed"), lane.key(f"ignored-{number}"), "böom")
        lane.client.zadd(lane.key("p:unsuccessful"), {lane.key(f"fatal-{number}"): number})


def test_all_children_of_every_kind(lane: Lane, queue: Queue) -> None:
    fill(lane, 2)
    found = job(queue, "p").get_dependencies()
    assert found.processed == {lane.key(f"done-{n}"): {"n": n} for n in range(2)}
    assert sorted(found.unprocessed) == [lane.key(f"open-{n}") for n in range(2)]
    assert found.ignored == {lane.key(f"ignored-{n}"): "böom" for n in range(2)}
    assert found.failed == [lane.key(f"fatal-{n}") for n in range(2)]
    assert found.next == {}
    assert queue.get_dependencies("p") == found


def test_pages_together_are_all_children(lane: Lane, queue: Queue) -> None:
    """Enough of them that Redis does not answer at once."""
    fill(lane, 1500)
    page = queue.get_dependencies("p", count=200)
    pages = [page]
    while page.next:
        page = queue.get_dependencies("p", page.next, count=200)
        pages.append(page)
    assert len(pages) > 4
    whole = queue.get_dependencies("p")
    assert {key: one for page in pages for key, one in page.processed.items()} == whole.processed
    assert {key: one for page in pages for key, one in page.ignored.items()} == whole.ignored
    assert {key for page in pages for key in page.unprocessed} == set(whole.unprocessed)
    assert [key for page in pages for key in page.failed] == whole.failed
    assert len(whole.failed) == 1500


def test_one_kind_alone(lane: Lane, queue: Queue) -> None:
    fill(lane, 3)
    found = queue.get_dependencies("p", {"failed": 1}, count=1)
    assert found == Dependencies(failed=[lane.key("fatal-1")], next={"failed": 2})
    assert queue.get_dependencies("p", {"failed": 1}).failed == [
        lane.key("fatal-1"),
        lane.key("fatal-2"),
    ]


def test_counts_of_every_kind(lane: Lane, queue: Queue) -> None:
    fill(lane, 3)
    lane.client.srem(lane.key("p:dependencies"), lane.key("open-0"))
    expected = {"processed": 3, "unprocessed": 2, "ignored": 3, "failed": 3}
    assert job(queue, "p").get_dependencies_count() == expected
    assert queue.get_dependencies_count("p") == expected
    assert set(queue.get_dependencies_count("nobody").values()) == {0}
    assert queue.get_dependencies("nobody") == queue.get_dependencies("meta") == Dependencies()


@pytest.mark.parametrize(
    ("cursors", "count"), [({"done": 0}, None), ({"failed": -1}, None), ({}, 0), (None, "1")]
)
def test_what_is_no_kind_or_number_is_refused(queue: Queue, cursors: Any, count: Any) -> None:
    with pytest.raises(InvalidInput):
        queue.get_dependencies("p", cursors, count=count)


def test_value_that_is_no_json_is_named(lane: Lane, queue: Queue) -> None:
    parent(lane)
    lane.client.hset(lane.key("p:processed"), "bull:q:1", "{")
    with pytest.raises(InvalidJobData, match="bull:q:1"):
        queue.get_dependencies("p")


def test_untied_child_stays_and_its_parent_runs(lane: Lane, queue: Queue) -> None:
    parent(lane)
    child(lane, "a")
    child(lane, "b")
    assert job(queue, "a").remove_child_dependency()
    assert lane.ids("waiting-children") == ["p"]
    assert job(queue, "b").remove_child_dependency()
    assert lane.ids("wait") == ["b", "a", "p"]
    assert "parentKey" not in lane.job("b")
    with unchanged_keyspace(lane.client):
        assert not job(queue, "b").remove_child_dependency()


@pytest.mark.parametrize("case", ["no parent", "parent is gone", "not waited for"])
def test_child_that_nobody_waits_for_is_left_as_it_is(lane: Lane, queue: Queue, case: str) -> None:
    parent(lane)
    child(lane, "a")
    if case == "no parent":
        lane.client.hdel(lane.key("a"), "parentKey")
    elif case == "parent is gone":
        lane.client.delete(lane.key("p"))
    else:
        lane.client.delete(lane.key("p:dependencies"))
    with unchanged_keyspace(lane.client):
        assert not job(queue, "a").remove_child_dependency()


def test_unprocessed_children_go_and_the_others_stay(lane: Lane, queue: Queue) -> None:
    parent(lane)
    for name in ("idle", "runs", "broken"):
        child(lane, name)
    parent(lane, "middle")
    lane.client.hset(lane.key("middle"), "parentKey", lane.key("p"))
    lane.client.sadd(lane.key("p:dependencies"), lane.key("middle"))
    child(lane, "below", "middle")
    child(lane, "below-runs", "middle")
    for name in ("runs", "below-runs"):
        lane.client.set(lane.key(f"{name}:lock"), "token")
    lane.client.zadd(lane.key("failed"), {"broken": 5})
    assert job(queue, "p").remove_unprocessed_children() == 3
    left = {"idle", "middle", "below", "below-runs", "runs", "broken"}
    assert {name for name in left if lane.client.exists(lane.key(name))} == {
        "below-runs",
        "runs",
        "broken",
    }
    assert set(job(queue, "p").unprocessed_children()) == {lane.key("runs"), lane.key("broken")}
    assert lane.ids("waiting-children") == ["p"]


def test_circle_of_children_ends(lane: Lane, queue: Queue) -> None:
    parent(lane)
    child(lane, "a")
    lane.client.sadd(lane.key("a:dependencies"), lane.key("p"), lane.key("a"))
    assert job(queue, "p").remove_unprocessed_children() == 1
    assert lane.client.exists(lane.key("p"))


def test_child_without_a_queue_is_passed_over(lane: Lane, queue: Queue) -> None:
    parent(lane)
    child(lane, "a")
    lane.client.sadd(lane.key("p:dependencies"), "nonsense")
    assert job(queue, "p").remove_unprocessed_children() == 1


def test_children_that_have_ended_do_not_count_against_the_bound(lane: Lane, queue: Queue) -> None:
    parent(lane)
    child(lane, "a")
    ended = {lane.key(f"c{number}"): "1" for number in range(10_001)}
    lane.client.hset(lane.key("p:processed"), mapping=ended)
    assert job(queue, "p").remove_unprocessed_children() == 1


def test_too_many_descendants_are_refused(lane: Lane, queue: Queue) -> None:
    parent(lane)
    lane.client.sadd(lane.key("p:dependencies"), *(lane.key(f"c{n}") for n in range(10_001)))
    with unchanged_keyspace(lane.client), pytest.raises(JobNotRemovable, match="10000"):
        job(queue, "p").remove_unprocessed_children()


@pytest.mark.parametrize("act", ["remove_child_dependency", "remove_unprocessed_children"])
def test_job_that_is_gone_is_an_error(lane: Lane, queue: Queue, act: str) -> None:
    gone = job(queue, lane.wait("x"))
    gone.remove()
    with unchanged_keyspace(lane.client), pytest.raises(JobGone):
        getattr(gone, act)()


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("taken", ["wait", "events", "meta", "marker", "waiting-children", "a"])
def test_taken_key_refuses_before_anything_is_written(lane: Lane, act: str, taken: str) -> None:
    parent(lane)
    child(lane, "a")
    lane.client.delete(lane.key(taken))
    lane.client.set(lane.key(taken), "taken")
    job_id = "a" if act == "untie" else "p"
    if (act, taken) == ("remove-unprocessed", "a"):
        assert lane.run(ACTS[act](lane.base, job_id)) == 1
        return
    with unchanged_keyspace(lane.client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        lane.run(ACTS[act](lane.base, job_id))


@pytest.mark.parametrize("act", ACTS)
def test_full_server_can_be_emptied(lane: Lane, act: str) -> None:
    parent(lane)
    child(lane, "a")
    lane.client.config_set("maxmemory", 1)
    try:
        assert lane.run(ACTS[act](lane.base, "a" if act == "untie" else "p")) in {"done", 1}
    finally:
        lane.client.config_set("maxmemory", 0)


async def test_the_same_for_asyncio(lane: Lane, redis_url: str) -> None:
    parent(lane)
    child(lane, "a")
    child(lane, "b")
    async with AsyncQueue("lane", redis=redis_url) as queue:
        (one, whole) = await queue.get_job("a"), await queue.get_job("p")
        assert (await whole.get_dependencies_count())["unprocessed"] == 2
        assert await one.remove_child_dependency()
        assert (await whole.get_dependencies()).unprocessed == [lane.key("b")]
        assert await whole.remove_unprocessed_children() == 1


def test_owner_of_a_deduplication_id(lane: Lane, queue: Queue) -> None:
    lane.client.set(lane.key("de:d"), "7")
    assert queue.get_deduplication_job_id("d") == "7"
    assert queue.get_deduplication_job_id("other") is None
    with pytest.raises(InvalidInput):
        queue.get_deduplication_job_id("")
