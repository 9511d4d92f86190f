"""Deduplication, toril beside Node as the control: what adding leaves, and what an end releases."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.compare import events_of, queue_view
from tests.support.waiting import until
from toril import Deduplication, Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from tests.interop.node import NodeDriver
    from tests.support.toril import TorilRun

AT_MS = 1_795_000_000_000
"""`timestamp` of every job: far enough off that no worker of a control run starts a delayed one."""


@dataclass(frozen=True)
class Add:
    """One add in both languages."""

    dedup: dict[str, Any]
    opts: dict[str, Any] = field(default_factory=dict)


KWARGS = {"keepLastIfActive": "keep_last_if_active", "delay": "delay", "priority": "priority"}
LATER = {"delay": 60_000}
OWNER_RUNS = "the owner becomes active"
OWNER_IS_GONE = "the owner's hash goes"

D = {"id": "d"}
THROTTLE = D | {"ttl": 60_000}
EXTEND = THROTTLE | {"extend": True}
DEBOUNCE = EXTEND | {"replace": True}
KEEP = D | {"keepLastIfActive": True}

CASES: dict[str, list[Any]] = {
    "simple": [Add(D), Add(D), Add({"id": "other"})],
    "simple-of-a-stale-owner": [Add(D), OWNER_IS_GONE, Add(D)],
    "throttle": [Add(THROTTLE), Add(THROTTLE)],
    "throttle-keeps-a-stale-owner": [Add(THROTTLE), OWNER_IS_GONE, Add(THROTTLE)],
    "throttle-after-simple": [Add(D), Add(THROTTLE)],
    "simple-after-throttle": [Add(THROTTLE), Add(D)],
    "extend": [Add(EXTEND), Add(EXTEND)],
    "extend-after-simple": [Add(D), Add(EXTEND)],
    "extend-without-ttl": [Add(THROTTLE), Add(D | {"extend": True})],
    "replace-delayed": [Add(D | {"replace": True}, LATER), Add(D | {"replace": True}, LATER)],
    "replace-delayed-keeps-the-time": [
        Add(THROTTLE | {"replace": True}, LATER), Add(THROTTLE | {"replace": True}, LATER),
    ],
    "replace-waiting": [Add(D | {"replace": True}), Add(D | {"replace": True})],
    "replace-stale": [Add(D | {"replace": True}), OWNER_IS_GONE, Add(D | {"replace": True})],
    "replace-and-keep": [
        Add(THROTTLE | {"replace": True, "keepLastIfActive": True}, LATER),
        Add(THROTTLE | {"replace": True, "keepLastIfActive": True}, LATER),
    ],
    "replace-active-and-keep": [
        Add(KEEP | {"replace": True}), OWNER_RUNS, Add(KEEP | {"replace": True}),
    ],
    "debounce": [Add(DEBOUNCE, LATER), Add(DEBOUNCE, {"delay": 30_000}), Add(DEBOUNCE, LATER)],
    "reschedule": [
        Add(D | {"reschedule": True}, LATER), Add(D | {"reschedule": True}, {"delay": 5000}),
    ],
    "reschedule-to-now": [Add(D, LATER), Add(D | {"reschedule": True})],
    "reschedule-waiting": [Add(D), Add(D | {"reschedule": True}, LATER)],
    "reschedule-and-replace": [
        Add(D | {"reschedule": True, "replace": True}, LATER),
        Add(D | {"reschedule": True, "replace": True}, {"delay": 5000}),
    ],
    "reschedule-and-extend": [
        Add(EXTEND | {"reschedule": True}, LATER), Add(EXTEND | {"reschedule": True}, LATER),
    ],
    "keep-waiting": [Add(KEEP), Add(KEEP)],
    "keep-active": [Add(KEEP), OWNER_RUNS, Add(KEEP, LATER), Add(KEEP, {"priority": 3})],
    "keep-with-ttl": [Add(KEEP | THROTTLE), OWNER_RUNS, Add(KEEP | THROTTLE)],
    "keep-after-throttle": [Add(THROTTLE), OWNER_RUNS, Add(KEEP)],
    "keep-and-extend": [Add(KEEP | EXTEND), Add(KEEP | EXTEND)],
}  # fmt: skip


@pytest.fixture
def queue(queue_name: str, redis_url: str) -> Iterator[Queue]:
    with Queue(queue_name, redis=redis_url) as opened:
        yield opened


def add_by_both(node: NodeDriver, queue: Queue, add: Add, data: Any = None) -> None:
    opts = add.opts | {"deduplication": add.dedup, "timestamp": AT_MS}
    node_id = node.call("add", queue=f"{queue.name}-node", name="echo", data=data, opts=opts)
    wish = {KWARGS.get(name, name): value for name, value in add.dedup.items()}
    options = {KWARGS[name]: value for name, value in add.opts.items()}
    for given in (wish, options):
        for name in given.keys() & {"ttl", "delay"}:
            given[name] = f"{given[name]}ms"
    dedup = Deduplication(**wish)
    job = queue.add("echo", data, deduplication=dedup, timestamp=AT_MS, **options)
    assert job.id == node_id


def change_both(client: redis.Redis, queue: Queue, change: str) -> None:
    for name in (queue.name, f"{queue.name}-node"):
        owner = client.get(f"bull:{name}:de:d").decode()
        if change == OWNER_IS_GONE:
            client.delete(f"bull:{name}:{owner}")
        else:
            client.lrem(f"bull:{name}:wait", 0, owner)
            client.lpush(f"bull:{name}:active", owner)


@pytest.mark.parametrize("case", CASES)
def test_33_same_keys_and_events_in_every_mode(
    case: str, node: NodeDriver, queue: Queue, redis_client: redis.Redis
) -> None:
    for number, step in enumerate(CASES[case]):
        if isinstance(step, Add):
            add_by_both(node, queue, step, {"n": number})
        else:
            change_both(redis_client, queue, step)
        by_node = _view(redis_client, f"{queue.name}-node")
        assert _view(redis_client, queue.name) == by_node


def _view(client: redis.Redis, queue: str) -> dict[str, Any]:
    """The queue, with the options of a noted job as what they say."""
    view = queue_view(client, queue)
    ttl_ms = client.pttl(f"bull:{queue}:de:d")
    return view | {"ttl": round(ttl_ms / 10_000)}


@pytest.mark.parametrize(
    "case", [(D, True), (THROTTLE, False), (EXTEND, False), (KEEP, True)], ids=str
)
@pytest.mark.parametrize("name", ["echo", "fail"])
def test_22_end_of_the_owner_releases_the_id(
    name: str,
    case: tuple[dict[str, Any], bool],
    node: NodeDriver,
    queue: Queue,
    toril_run: Callable[..., TorilRun],
) -> None:
    """With a `ttl` the id stays taken until that has passed."""
    dedup, is_free = case
    job = {"name": name, "data": {}, "opts": {"deduplication": dedup}}
    first = node.call("add", queue=queue.name, **job)
    assert toril_run("--until-empty").exit_code() == 0
    second = node.call("add", queue=queue.name, **job)
    assert (second != first) is is_free
    assert queue.remove_deduplication_key("d")


def test_23_newest_job_that_came_while_the_owner_ran_follows_it(
    node: NodeDriver, queue_name: str, redis_client: redis.Redis, toril_run: Callable[..., TorilRun]
) -> None:
    """The same ids, keys and events as where Node's worker runs the owner."""
    by_node = f"{queue_name}-node"
    node.call("startWorker", queue=by_node)
    toril_run().ready()
    opts = {"deduplication": KEEP}
    for queue in (by_node, queue_name):
        node.call("add", queue=queue, name="slow", data={"ms": 1500}, opts=opts)
        until(lambda queue=queue: redis_client.llen(f"bull:{queue}:active"))
        for number in (1, 2):
            node.call("add", queue=queue, name="echo", data=number, opts=opts)
        node.call("listen", queue=queue)
        node.call("heard", queue=queue, of="completed", count=2)
        until(lambda queue=queue: not redis_client.exists(f"bull:{queue}:de:d"))
        assert node.call("getJob", queue=queue, id="3")["returnvalue"] == 2
        assert node.call("getJob", queue=queue, id="2") is None
    assert events_of(redis_client, queue_name) == events_of(redis_client, by_node)


def test_removed_key_lets_the_next_job_in(
    node: NodeDriver, queue: Queue, redis_client: redis.Redis
) -> None:
    """For the queue whoever owns it, for a job only its own."""
    first = queue.add("echo", deduplication=Deduplication("d"))
    assert queue.get_job(first.id).deduplication_id == "d"
    assert queue.add("echo", deduplication=Deduplication("d")).id == first.id
    assert queue.remove_deduplication_key("d")
    assert not queue.remove_deduplication_key("d")
    second = queue.add("echo", deduplication=Deduplication("d"))
    assert second.id != first.id
    assert not first.remove_deduplication_key()
    assert node.call("onJob", queue=queue.name, id=second.id, act="removeDeduplicationKey") == 1
    third = queue.add("echo", deduplication=Deduplication("d"))
    assert third.remove_deduplication_key()
    assert not redis_client.exists(f"bull:{queue.name}:de:d")
