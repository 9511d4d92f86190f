"""Flows that Node adds, with toril as the worker of children, of parents, or of both."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.compare import queue_view
from tests.interop.conftest import PROCESSORS
from tests.support.toril import TorilRun
from tests.support.waiting import until
from toril import Parent, Queue

if TYPE_CHECKING:
    import redis

    from tests.interop.node import NodeDriver

OPTIONS = [
    None,
    "failParentOnFailure",
    "continueParentOnFailure",
    "ignoreDependencyOnFailure",
    "removeDependencyOnFailure",
]
PENDING = {"delay": 3_600_000}
SLOW = {"ms": 500}
"""Long enough for its parent to look for it while it runs."""
TIMES = {"timestamp", "processedOn", "finishedOn", "pb", "stacktrace"}
TIME_SETS = {"waiting-children", "completed", "failed", "p:unsuccessful", "delayed"}


@dataclass(frozen=True)
class Stage:
    """Node, its server, and queues `name` (children) and `name`-parents."""

    node: NodeDriver
    client: redis.Redis
    url: str
    name: str

    def add(self, *children: dict[str, Any], queue: str = "", **parent: Any) -> None:
        """A flow of which the parent has the id `p`, and each child its place: `c0`, `c1` …"""
        name = queue or self.name
        nodes = [
            {"data": {}, "queueName": name} | child | {"opts": {"jobId": f"c{at}"} | child["opts"]}
            for at, child in enumerate(children)
        ]
        root = {"name": "children-values", "queueName": f"{name}-parents", "data": {}} | parent
        root["opts"] = {"jobId": "p"} | parent.get("opts", {})
        self.node.call("addFlow", flow=root | {"children": nodes})

    def work(self, queue: str, *, by_node: bool) -> Any:
        """A worker of the one kind or the other; a context manager."""
        return NodeWork(self.node, queue) if by_node else TorilRun(queue, PROCESSORS, self.url)

    def state(self, job_id: str, queue: str) -> str | None:
        """Where Node sees a job."""
        found = self.node.call("getJob", queue=queue, id=job_id)
        return found and found["state"]

    def await_state(self, state: str, job_id: str, queue: str) -> dict[str, Any]:
        """The job as Node sees it, once it is there."""
        until(lambda: self.state(job_id, queue) == state)
        return self.node.call("getJob", queue=queue, id=job_id)


@dataclass(frozen=True)
class NodeWork:
    """A Node worker as a context manager."""

    node: NodeDriver
    queue: str

    def __enter__(self) -> None:
        self.node.call("startWorker", queue=self.queue, name=self.queue)

    def __exit__(self, *_error: object) -> None:
        self.node.call("stopWorker", name=self.queue)


@pytest.fixture
def stage(node: NodeDriver, redis_client: redis.Redis, redis_url: str, queue_name: str) -> Stage:
    return Stage(node, redis_client, redis_url, queue_name)


def child(name: str, data: Any = None, **opts: Any) -> dict[str, Any]:
    return {"name": name, "data": {} if data is None else data, "opts": opts}


@pytest.mark.parametrize("parent_by_node", [True, False], ids=["51", "52"])
def test_51_52_parent_gets_the_values_of_its_children(
    stage: Stage, *, parent_by_node: bool
) -> None:
    stage.add(child("echo", {"a": "ü"}), child("echo", 7), child("nothing"))
    parents = f"{stage.name}-parents"
    with (
        stage.work(stage.name, by_node=not parent_by_node),
        stage.work(parents, by_node=parent_by_node),
    ):
        done = stage.await_state("completed", "p", parents)
    keys = [f"bull:{stage.name}:c{at}" for at in range(3)]
    assert done["returnvalue"] == dict(zip(keys, [{"a": "ü"}, 7, None], strict=True))
    with Queue(parents, redis=stage.url) as queue:
        assert queue.get_job("p").children_values() == done["returnvalue"]
        assert queue.get_job("p").unprocessed_children() == []


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("has_sibling", [True, False], ids=["sibling", "alone"])
@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "dropped"])
def test_53_failed_child_leaves_its_parent_as_nodes_does(
    stage: Stage, option: str | None, *, has_sibling: bool, is_kept: bool
) -> None:
    opts = ({option: True} if option else {}) | ({} if is_kept else {"removeOnFail": True})
    siblings = [child("echo", **PENDING)] if has_sibling else []
    left = []
    for by_node in (True, False):
        name = f"{stage.name}-{'n' if by_node else 't'}"
        stage.add(child("fail", **opts), *siblings, queue=name)
        with stage.work(name, by_node=by_node):
            until(lambda name=name: _has_failed(stage, name))
        left.append({part: _view(stage, name, part) for part in ("", "-parents")})
    assert left[1] == left[0]


def _has_failed(stage: Stage, queue: str) -> bool:
    events = stage.client.xrange(f"bull:{queue}:events")
    return any(fields[b"event"] == b"failed" for _id, fields in events)


def _view(stage: Stage, name: str, part: str) -> dict[str, Any]:
    """A queue without its name, times, and what only an idle worker leaves."""
    text = json.dumps(queue_view(stage.client, name + part), default=sorted)
    view = json.loads(text.replace(name, "NAME"))
    for passing in ("stalled-check", "marker"):
        view.pop(passing, None)
    return {
        suffix: [kind, _timeless(suffix, kind, value), expires]
        for suffix, (kind, value, expires) in view.items()
    }


def _timeless(suffix: str, kind: str, value: Any) -> Any:
    if kind == "hash":
        return {name: said for name, said in value.items() if name not in TIMES}
    if suffix in TIME_SETS:
        return sorted(value)
    if suffix != "events":
        return value
    return [
        event | ({"delay": "a time"} if "delay" in event else {})
        for event in value
        if event["event"] != "drained"
    ]


@pytest.mark.parametrize("middle_by_node", [True, False])
def test_54_failure_goes_up_through_three_queues(stage: Stage, *, middle_by_node: bool) -> None:
    names = [f"{stage.name}-{level}" for level in ("top", "middle", "bottom")]
    opts = {"failParentOnFailure": True}
    bottom = {"name": "fail", "queueName": names[2], "data": {}, "opts": opts | {"jobId": "b"}}
    middle = {"name": "echo", "queueName": names[1], "opts": opts | {"jobId": "m"}}
    top = {"name": "echo", "queueName": names[0], "opts": {"jobId": "t"}}
    stage.node.call("addFlow", flow=top | {"children": [middle | {"children": [bottom]}]})
    with (
        stage.work(names[0], by_node=not middle_by_node),
        stage.work(names[1], by_node=middle_by_node),
        stage.work(names[2], by_node=not middle_by_node),
    ):
        failed = stage.await_state("failed", "t", names[0])
    assert failed["failedReason"] == f"child bull:{names[1]}:m failed"
    found = stage.node.call("getJob", queue=names[1], id="m")
    assert (found["state"], found["failedReason"]) == ("failed", f"child bull:{names[2]}:b failed")


def test_55_parent_with_a_delay_and_a_priority_is_released_to_both(stage: Stage) -> None:
    parents = f"{stage.name}-parents"
    stage.add(child("echo"), name="echo", opts={"delay": 300, "priority": 2})
    with stage.work(stage.name, by_node=False):
        until(lambda: stage.client.zcard(f"bull:{parents}:delayed") == 1)
    with stage.work(parents, by_node=False):
        stage.await_state("completed", "p", parents)
    events = stage.client.xrange(f"bull:{parents}:events")
    assert [fields[b"event"] for _id, fields in events] == [
        b"added", b"waiting-children", b"delayed", b"waiting", b"active", b"completed", b"drained",
    ]  # fmt: skip
    assert stage.client.get(f"bull:{parents}:pc") is None


def test_56_parent_with_pending_children_cannot_complete(stage: Stage) -> None:
    """`continueParentOnFailure` releases it while another child is pending."""
    parents = f"{stage.name}-parents"
    stage.add(
        child("fail", continueParentOnFailure=True),
        child("echo", **PENDING),
        name="ignored-failures",
    )
    with stage.work(stage.name, by_node=False), stage.work(parents, by_node=False):
        failed = stage.await_state("failed", "p", parents)
    assert "pending" in failed["failedReason"]
    assert failed["attemptsMade"] == 1
    with Queue(parents, redis=stage.url) as queue:
        job = queue.get_job("p")
        assert job.ignored_children_failures() == {f"bull:{stage.name}:c0": "boom"}
        assert job.unprocessed_children() == [f"bull:{stage.name}:c1"]


def test_57_children_that_end_together_release_their_parent_once(stage: Stage) -> None:
    count = 30
    by_node, parents = f"{stage.name}-other", f"{stage.name}-parents"
    for number in range(count):
        other = child("slow", {"ms": 20}) | {"queueName": by_node}
        stage.add(
            *(
                one | {"opts": {"jobId": f"c{number}"}}
                for one in (child("slow", {"ms": 20}), other)
            ),
            opts={"jobId": f"p{number}"},
        )
    with stage.work(stage.name, by_node=False), stage.work(by_node, by_node=True):
        until(lambda: stage.client.llen(f"bull:{parents}:wait") == count)
    released = [
        fields[b"jobId"]
        for _id, fields in stage.client.xrange(f"bull:{parents}:events")
        if fields[b"event"] == b"waiting"
    ]
    assert len(released) == len(set(released)) == count


@pytest.mark.parametrize("by_node", [True, False], ids=["node-retries", "toril-retries"])
def test_59_retried_child_is_waited_for_again(stage: Stage, *, by_node: bool) -> None:
    parents = f"{stage.name}-parents"
    stage.add(child("fail-until", {"succeed_at": 2}, failParentOnFailure=True))

    def retry(queue: str, job_id: str) -> None:
        if by_node:
            stage.node.call("onJob", queue=queue, id=job_id, act="retry")
        else:
            with Queue(queue, redis=stage.url) as opened:
                opened.get_job(job_id).retry()

    with stage.work(stage.name, by_node=False), stage.work(parents, by_node=False):
        failed = stage.await_state("failed", "p", parents)
    assert failed["failedReason"] == f"child bull:{stage.name}:c0 failed"
    with Queue(parents, redis=stage.url) as queue:
        job = queue.get_job("p")
        assert job.failed_children() == [f"bull:{stage.name}:c0"]
        retry(stage.name, "c0")
        assert job.unprocessed_children() == [f"bull:{stage.name}:c0"]
        assert job.failed_children() == []
    with stage.work(stage.name, by_node=False):
        stage.await_state("completed", "c0", stage.name)
    retry(parents, "p")
    with stage.work(parents, by_node=False):
        done = stage.await_state("completed", "p", parents)
    assert done["returnvalue"] == {f"bull:{stage.name}:c0": 2}


def test_60_unprocessed_children_go_and_one_that_runs_stays(stage: Stage) -> None:
    """The parent, released when that one ends, has only its value."""
    parents = f"{stage.name}-parents"
    stage.add(child("slow", {"ms": 1000}), child("echo", **PENDING), child("echo", **PENDING))
    with Queue(parents, redis=stage.url) as queue, stage.work(stage.name, by_node=True):
        until(lambda: stage.client.llen(f"bull:{stage.name}:active") == 1)
        assert queue.get_job("p").remove_unprocessed_children() == 2
        assert queue.get_job("p").get_dependencies().unprocessed == [f"bull:{stage.name}:c0"]
        with stage.work(parents, by_node=False):
            done = stage.await_state("completed", "p", parents)
    assert done["returnvalue"] == {f"bull:{stage.name}:c0": "slept"}
    assert stage.state("c1", stage.name) is stage.state("c2", stage.name) is None


@pytest.mark.parametrize("parent_by_node", [True, False], ids=["28", "reverse"])
def test_28_child_added_to_a_running_parent_that_waits_for_it(
    stage: Stage, *, parent_by_node: bool
) -> None:
    """And the reverse: toril's processor raises `WaitingChildren`, Node adds the child."""
    parents = f"{stage.name}-parents"
    stage.node.call("add", queue=parents, name="wait-for-children", data={}, opts={"jobId": "p"})
    with (
        stage.work(parents, by_node=parent_by_node),
        stage.work(stage.name, by_node=not parent_by_node),
        Queue(stage.name, redis=stage.url) as queue,
    ):
        until(lambda: stage.client.llen(f"bull:{parents}:active") == 1)
        if parent_by_node:
            queue.add("slow", SLOW, job_id="c", parent=Parent("p", f"bull:{parents}"))
        else:
            opts = {"jobId": "c", "parent": {"id": "p", "queue": f"bull:{parents}"}}
            stage.node.call("add", queue=stage.name, name="slow", data=SLOW, opts=opts)
        done = stage.await_state("completed", "p", parents)
    assert done["returnvalue"] == {f"bull:{stage.name}:c": "slept"}
    assert (done["attemptsMade"], done["attemptsStarted"]) == (1, 2)
    events = [fields[b"event"] for _id, fields in stage.client.xrange(f"bull:{parents}:events")]
    assert events == [
        b"added", b"waiting", b"active", b"waiting-children", b"waiting", b"active", b"completed",
        b"drained",
    ]  # fmt: skip


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("state", ["new", "waiting", "completed", "other-parent-gone"])
def test_job_with_a_parent_is_added_as_node_adds_it(
    stage: Stage, option: str | None, state: str
) -> None:
    """Key by key, also where a job of the id is there already."""
    flags = {
        "failParentOnFailure": "fail_parent_on_failure",
        "continueParentOnFailure": "continue_parent_on_failure",
        "ignoreDependencyOnFailure": "ignore_dependency_on_failure",
        "removeDependencyOnFailure": "remove_dependency_on_failure",
    }
    at_ms = {"timestamp": 1_795_000_000_000}
    left = []
    for by_node in (True, False):
        name = f"{stage.name}-{'n' if by_node else 't'}"
        base = f"bull:{name}:"
        stage.node.call("add", queue=f"{name}-parents", name="echo", opts={"jobId": "p"} | at_ms)
        stage.client.lrem(f"bull:{name}-parents:wait", 0, "p")
        stage.client.zadd(f"bull:{name}-parents:waiting-children", {"p": 1})
        if state != "new":
            stage.node.call("add", queue=name, name="echo", opts={"jobId": "c"} | at_ms)
        if state == "completed":
            stage.client.lrem(f"{base}wait", 0, "c")
            stage.client.zadd(f"{base}completed", {"c": 1})
            stage.client.hset(f"{base}c", "returnvalue", '{"ok":1}')
        if state == "other-parent-gone":
            stage.client.hset(f"{base}c", "parentKey", "bull:x:gone")
        parent = {"id": "p", "queue": f"bull:{name}-parents"}
        if by_node:
            opts = at_ms | {"jobId": "c", "parent": parent} | ({option: True} if option else {})
            stage.node.call("add", queue=name, name="echo", data=1, opts=opts)
        else:
            given = {flags[option]: True} if option else {}
            with Queue(name, redis=stage.url) as queue:
                queue.add("echo", 1, job_id="c", parent=Parent(**parent), **given, **at_ms)
        left.append([_added_view(stage, name, part) for part in ("", "-parents")])
    assert left[1] == left[0]


def _added_view(stage: Stage, name: str, part: str) -> dict[str, Any]:
    view = queue_view(stage.client, name + part)
    if "c" in view and "parent" in view["c"][1]:
        view["c"][1]["parent"] = json.loads(view["c"][1]["parent"])
    return json.loads(json.dumps(view, default=sorted, sort_keys=True).replace(name, "NAME"))
