"""Jobs that both workers run, Node's as the control, and what is left of each as a value."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.interop.compare import events_of, queue_view

if TYPE_CHECKING:
    import redis

    from tests.interop.node import NodeDriver

AT_MS = 1_750_000_000_000
"""`timestamp` of every job but the delayed one, so that both queues hold the same."""

TIMES = {"processedOn", "finishedOn", "timestamp"}
"""Fields of a job that hold a time; compared as "there is one"."""


@dataclass(frozen=True)
class Scenario:
    """One job as Node adds it: the processor's name, data and options."""

    name: str
    data: Any = None
    opts: dict[str, Any] = field(default_factory=dict)


_RETRIED = {"attempts": 3, "backoff": {"type": "fixed", "delay": 20}}

SCENARIOS = {
    "plain": Scenario("echo", {"n": 1}),
    "unicode": Scenario("echo", {"é/": 'naïve 🐂 "quoted"\n\u2028', "half": 0.5}),
    "one-megabyte": Scenario("echo", {"text": "ä" * 500_000}),
    "scalar": Scenario("echo", 7),
    "returns-nothing": Scenario("nothing"),
    "lifo": Scenario("echo", 1, {"lifo": True}),
    "prioritized-job": Scenario("echo", 1, {"priority": 3}),
    "delayed-job": Scenario("echo", 1, {"delay": 100}),
    "delayed-prioritized": Scenario("echo", 1, {"delay": 100, "priority": 3}),
    "fails": Scenario("fail", {"message": "bœm"}),
    "fails-at-once-again": Scenario("fail", {}, {"attempts": 2}),
    "fails-at-once-again-lifo": Scenario("fail", {}, {"attempts": 2, "lifo": True}),
    "fails-three-times": Scenario("fail", {}, _RETRIED),
    "fails-prioritized": Scenario("fail", {}, {"attempts": 2, "priority": 2}),
    "fails-exponentially": Scenario(
        "fail", {}, {"attempts": 3, "backoff": {"type": "exponential", "delay": 20}}
    ),
    "succeeds-at-last": Scenario("fail-until", {"succeed_at": 3}, _RETRIED),
    "unrecoverable": Scenario("unrecoverable", {}, {"attempts": 5}),
    "stack-traces-limited": Scenario("fail", {}, {"attempts": 3, "stackTraceLimit": 1}),
    "stack-traces-refused": Scenario("fail", {}, {"attempts": 2, "stackTraceLimit": 0}),
    "logs": Scenario("log"),
    "logs-limited": Scenario("log", None, {"keepLogs": 2}),
    "progress-number": Scenario("progress", {"progress": 40}),
    "progress-text": Scenario("progress", {"progress": "half ½"}),
    "progress-object": Scenario("progress", {"progress": {"done": 1, "of": 2}}),
    "data-updated": Scenario("update-data", {"step": 1}, _RETRIED),
    "removed-when-complete": Scenario("echo", 1, {"removeOnComplete": True}),
    "removed-when-failed": Scenario("fail", {}, {"removeOnFail": True}),
    "kept-by-age": Scenario("echo", 1, {"removeOnComplete": {"age": 3600, "count": 1000}}),
}

FAILS = {id_ for id_, one in SCENARIOS.items() if one.name in {"fail", "unrecoverable"}}


@dataclass(frozen=True)
class Left:
    """What one worker left of every job, and what its events said.

    Attributes:
        keys: job id → key suffix → value, of the job and its sub-keys.
        seen: job id → the job as Node's getters show it, with state and logs.
        events: job id → its entries of the stream, in order.
        heard: job id → what `QueueEvents` delivered, decoded, in order.
        errors: what `QueueEvents` reported as errors.
        lists: the queue's own keys, apart from the events.
    """

    keys: dict[str, dict[str, Any]]
    seen: dict[str, Any]
    events: dict[str, list[dict[str, str]]]
    heard: dict[str, list[dict[str, Any]]]
    errors: list[str]
    lists: dict[str, Any]


def add_all(node: NodeDriver, queue: str) -> None:
    """Add every scenario with its own name as the job's id."""
    jobs = [
        {
            "name": one.name,
            "data": one.data,
            "opts": {"jobId": id_, **({} if "delay" in one.opts else {"timestamp": AT_MS})}
            | one.opts,
        }
        for id_, one in SCENARIOS.items()
    ]
    node.call("addBulk", queue=queue, jobs=jobs)
    node.call("listen", queue=queue)


def left_by(node: NodeDriver, client: redis.Redis, queue: str) -> Left:
    """Read everything back, once every job has ended."""
    node.call("heard", queue=queue, of="failed", count=len(FAILS))
    heard = node.call("heard", queue=queue, of="completed", count=len(SCENARIOS) - len(FAILS))
    view = queue_view(client, queue)
    return Left(
        keys={id_: _keys_of(view, id_) for id_ in SCENARIOS},
        seen={id_: _timeless(node.call("getJob", queue=queue, id=id_)) for id_ in SCENARIOS},
        events=_by_job(events_of(client, queue)),
        heard=_by_job(heard["seen"]),
        errors=heard["errors"],
        lists={suffix: said for suffix, said in view.items() if _is_the_queues(suffix)},
    )


def _is_the_queues(suffix: str) -> bool:
    return suffix != "events" and suffix.partition(":")[0] not in SCENARIOS


def _keys_of(view: dict[str, Any], id_: str) -> dict[str, Any]:
    return {
        suffix: _timeless(said[1]) if suffix == id_ else said
        for suffix, said in view.items()
        if suffix.partition(":")[0] == id_
    }


def _timeless(job: dict[str, Any] | None) -> dict[str, Any] | None:
    """A job without what two runs cannot share: times, names, text of the traces."""
    if job is None:
        return None
    same = {name: "a time" if name in TIMES and value else value for name, value in job.items()}
    same.pop("queueQualifiedName", None)
    for name in ("pb", "processedBy"):
        if same.get(name):
            same[name] = "a worker"
    if "stacktrace" in same:
        same["stacktrace"] = len(_list(same["stacktrace"]))
    same.get("opts", {}).pop("timestamp", None)
    return same


def _list(value: Any) -> list[Any]:
    return json.loads(value) if isinstance(value, str) else value or []


def _by_job(events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Each job's events, without the time that two runs cannot share."""
    return {
        id_: [
            event | {"delay": "a time"} if event["event"] == "delayed" else event
            for event in events
            if event.get("jobId") == id_
        ]
        for id_ in SCENARIOS
    }
