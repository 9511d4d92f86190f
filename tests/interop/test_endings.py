"""How an attempt ends, beside Node as the control: what is kept, counted, put back and refused.

The same queue is made twice; a Node worker runs the one, toril's own decisions and scripts, without
a child, the other. What is left must be the same.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.compare import queue_view
from tests.support.waiting import until
from toril.call import Outcome, Verdict
from toril.runtime.claim import ClaimRequest
from toril.runtime.retry import Policy, decide, unrun
from toril.runtime.store import Ending, Store

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from tests.interop.node import NodeDriver

MINUTE_MS = 60_000
OUTCOMES = {
    "echo": Outcome(Verdict.RETURNED),
    "fail": Outcome(Verdict.RAISED, message="boom", stack="Error: boom"),
    "ask-for-time": Outcome(Verdict.DELAYED, detail={"delay_ms": 60_000}),
    "hold-queue": Outcome(Verdict.RATE_LIMITED, detail={"delay_ms": 60_000}),
}
"""What toril's child would have said of the processors of `node/workers.js`."""


@dataclass(frozen=True)
class Pair:
    """Two queues of the same content; `run` has Node work the one and toril the other."""

    node: NodeDriver
    client: redis.Redis
    url: str
    queues: tuple[str, str]

    def each(self, do: Callable[[str], Any]) -> tuple[Any, Any]:
        """Do the same to both, given the base of the keys."""
        first, second = (do(f"bull:{name}:") for name in self.queues)
        return first, second

    def add(self, name: str, opts: dict[str, Any], data: Any = 1) -> None:
        for queue in self.queues:
            self.node.call("add", queue=queue, name=name, data=data, opts={"jobId": "x"} | opts)

    def run(self, is_done: Callable[[str], Any], policy: Policy, **options: Any) -> None:
        """Until the job is where it is expected."""
        by_node, by_toril = self.queues
        self.node.call("startWorker", queue=by_node, options={"drainDelay": 1} | options)
        until(lambda: is_done(f"bull:{by_node}:"))
        self.node.call("stopWorker")
        asyncio.run(_work(self.url, by_toril, policy))
        assert is_done(f"bull:{by_toril}:")


async def _work(url: str, queue: str, policy: Policy) -> None:
    store = Store(url, "bull", queue)
    await store.open()
    try:
        while (claimed := (await store.exchange(want=ClaimRequest(1, 30_000))).claimed).claims:
            (claim,) = claimed.claims
            outcome = unrun(claim, policy) or OUTCOMES[claim.name]
            await store.exchange(
                endings=[Ending(claim, decide(claim, outcome, policy, 0), outcome)]
            )
    finally:
        await store.close()


@pytest.fixture
def pair(node: NodeDriver, queue_name: str, redis_client: redis.Redis, redis_url: str) -> Pair:
    return Pair(node, redis_client, redis_url, (f"{queue_name}-n", f"{queue_name}-t"))


# -- keep rules


@pytest.mark.parametrize("name", ["completed", "failed"])
@pytest.mark.parametrize(
    "rule",
    [
        True, False, 0, 1, 3, {"count": 3}, {"count": 0}, {"age": 60}, {"age": 60, "limit": 2},
        {"age": 60, "limit": 4}, {"age": 60, "limit": 5}, {"age": 60, "count": 2}, {"age": 0},
        {"age": 0.5}, {"age": 60, "limit": 1, "count": 4}, {"age": 1000, "count": 2},
    ],
    ids=str,
)  # fmt: skip
def test_12_same_finished_jobs_stay(pair: Pair, name: str, rule: Any) -> None:
    now_ms = pair.client.time()[0] * 1000

    def plant(base: str) -> None:
        for number in range(6):
            job = {"name": "old", "data": "{}", "opts": "{}", "timestamp": 1, "delay": 0}
            pair.client.hset(f"{base}old-{number}", mapping=job)
            age_ms = 100_000 * (6 - number) - 50_000
            pair.client.zadd(f"{base}{name}", {f"old-{number}": now_ms - age_ms})

    def left(base: str) -> tuple[list[bytes], set[bytes]]:
        jobs = {key for key in pair.client.keys(f"{base}*") if b":old-" in key or b":x" in key}
        return pair.client.zrange(base + name, 0, -1), {key[len(base) :] for key in jobs}

    option, processor = (
        ("removeOnComplete", "echo") if name == "completed" else ("removeOnFail", "fail")
    )
    pair.add(processor, {option: rule})
    pair.each(plant)
    pair.run(lambda base: _has_event(pair, base, name), Policy())
    by_node, by_toril = pair.each(left)
    assert by_toril == by_node


def _has_event(pair: Pair, base: str, event: str) -> bool:
    entries = pair.client.xrange(f"{base}events")
    return any(fields[b"event"] == event.encode() for _id, fields in entries)


# -- metrics


@pytest.mark.parametrize("processor", ["echo", "fail"])
@pytest.mark.parametrize("minutes", [None, 0, 1, 3, 9, 500])
def test_76_same_metrics_are_counted(pair: Pair, processor: str, minutes: int | None) -> None:
    name = "completed" if processor == "echo" else "failed"
    size = 5

    def plant(base: str) -> None:
        if minutes is not None:
            now_ms = pair.client.time()[0] * 1000
            began = {"count": 7, "prevTS": now_ms - minutes * MINUTE_MS, "prevCount": 3}
            pair.client.hset(f"{base}metrics:{name}", mapping=began)
            pair.client.lpush(f"{base}metrics:{name}:data", 2, 1, 1)

    def left(base: str) -> tuple[dict[bytes, bytes], list[bytes], bool]:
        fields = pair.client.hgetall(f"{base}metrics:{name}")
        fields.pop(b"prevTS")
        return fields, pair.client.lrange(f"{base}metrics:{name}:data", 0, -1)

    while pair.client.time()[0] % 60 > 50:
        pass  # Both have to end in one minute.
    pair.add(processor, {})
    pair.each(plant)
    pair.run(
        lambda base: _has_event(pair, base, name),
        Policy(metrics_size=size),
        metrics={"maxDataPoints": size},
    )
    by_node, by_toril = pair.each(left)
    assert by_toril == by_node


# -- starts, time, holds


@pytest.mark.parametrize("started", [0, 1, 2, 3, 5])
def test_50_same_bound_on_starts(pair: Pair, started: int) -> None:
    pair.add("fail", {"attempts": 10})
    if started:
        pair.each(lambda base: pair.client.hset(f"{base}x", "ats", started))
    pair.run(
        lambda base: pair.client.zcard(f"{base}failed"),
        Policy(max_started_attempts=3),
        maxStartedAttempts=3,
    )
    names = ("atm", "ats", "failedReason")
    by_node, by_toril = pair.each(lambda base: pair.client.hmget(f"{base}x", *names))
    assert by_toril == by_node


def test_job_that_asks_for_time_is_left_as_node_leaves_it(pair: Pair) -> None:
    pair.add("ask-for-time", {"priority": 2}, {"ms": 60_000})
    pair.run(lambda base: pair.client.zcard(f"{base}delayed"), Policy())
    by_node, by_toril = pair.each(lambda base: _view(pair, base))
    assert by_toril == by_node
    for base in pair.each(str):
        due_ms = pair.client.zrange(f"{base}delayed", 0, -1, withscores=True)[0][1] / 4096
        assert 50_000 < due_ms - pair.client.time()[0] * 1000 <= 61_000


def test_45_job_that_holds_the_queue_is_left_as_node_leaves_it(pair: Pair) -> None:
    """Node obeys its own limiter where a `max` is set."""
    for queue in pair.queues:
        pair.node.call("onQueue", queue=queue, act="setGlobalRateLimit", args=[100, 1000])
    pair.add("hold-queue", {}, {"ms": 60_000})
    pair.run(lambda base: _is_held(pair, base), Policy())
    by_node, by_toril = pair.each(lambda base: _view(pair, base))
    assert by_toril == by_node


def _is_held(pair: Pair, base: str) -> bool:
    return pair.client.llen(f"{base}wait") == 1 and pair.client.pttl(f"{base}limiter") > 50_000


def _view(pair: Pair, base: str) -> dict[str, Any]:
    """The queue without times, markers (Node's worker waited on them) and who worked."""
    view = queue_view(pair.client, base.split(":")[1])
    for suffix in ("marker", "stalled-check", "delayed"):
        view.pop(suffix, None)
    kind, job, expires = view["x"]
    for name in ("timestamp", "processedOn", "delay", "pb"):
        job.pop(name, None)
    view["x"] = (kind, job, expires)
    kind, events, expires = view["events"]
    view["events"] = (kind, [event | {"delay": "a time"} for event in events], expires)
    return view
