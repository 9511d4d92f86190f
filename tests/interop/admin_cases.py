"""Calls of administration in both languages, and the queues they are made on.

Both queues hold the same jobs, made by Node; then one call is made in each language.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from tests.interop.node import NodeDriver

AT_MS = 1_750_000_000_000
"""`timestamp` of every job here, so that both queues hold the same."""

FAR_MS = 2_750_000_000_000
"""When the schedule begins."""


@dataclass
class Side:
    """One of the two queues, as a test prepares it."""

    node: NodeDriver
    client: redis.Redis
    queue: str

    def key(self, suffix: str) -> str:
        return f"bull:{self.queue}:{suffix}"

    def add(self, job_id: str, **opts: Any) -> None:
        options = {"timestamp": AT_MS, "jobId": job_id} | opts
        self.node.call("add", queue=self.queue, name="echo", data={"n": 1}, opts=options)

    def flow(self, *children: dict[str, Any]) -> None:
        parent = {"name": "parent", "queueName": self.queue, "opts": _named("parent")}
        self.node.call("addFlow", flow=parent | {"children": list(children)})

    def child(self, job_id: str, *children: dict[str, Any], **opts: Any) -> dict[str, Any]:
        child = {"name": "child", "queueName": self.queue, "opts": _named(job_id) | opts}
        return child | ({"children": list(children)} if children else {})

    def start(self, job_id: str, *, locked: bool = True) -> None:
        self._leave(job_id)
        self.client.lpush(self.key("active"), job_id)
        self.client.hset(self.key(job_id), mapping={"processedOn": AT_MS + 1, "ats": 1})
        if locked:
            self.client.set(self.key(f"{job_id}:lock"), "a-token")

    def finish(self, job_id: str, state: str, at_ms: int = AT_MS + 2, **fields: Any) -> None:
        self._leave(job_id)
        self.client.zadd(self.key(state), {job_id: at_ms})
        value = {"completed": ("returnvalue", "1"), "failed": ("failedReason", "boom")}[state]
        ended = {"processedOn": AT_MS + 1, "finishedOn": at_ms, "ats": 1, "atm": 1}
        ended |= {"stacktrace": '["trace"]', value[0]: value[1]}
        self.client.hset(self.key(job_id), mapping=ended | fields)

    def _leave(self, job_id: str) -> None:
        self.client.lrem(self.key("wait"), 0, job_id)
        self.client.zrem(self.key("prioritized"), job_id)
        self.client.zrem(self.key("delayed"), job_id)


def _named(job_id: str) -> dict[str, Any]:
    return {"jobId": job_id, "timestamp": AT_MS}


@dataclass(frozen=True)
class Case:
    """One call in both languages, on queues that `prepare` has filled.

    `on` names a job for calls of a job; None for calls of the queue.
    """

    prepare: Callable[[Side], Any]
    act: str
    args: tuple[Any, ...] = ()
    call: Callable[[Any], Any] = lambda queue: queue
    on: str | None = None


def states(side: Side) -> None:
    """A job or two in every state, and a deduplication key of each."""
    for name in ("waits", "waits-more", "runs", "orphan", "done", "broken", "done-later"):
        side.add(name, deduplication={"id": f"d-{name}"})
    side.add("lifo", lifo=True)
    side.add("later", delay=60_000)
    side.add("later-first", delay=60_000, priority=2)
    for number, priority in enumerate((3, 1, 3)):
        side.add(f"urgent-{number}", priority=priority)
    side.add("urgent", priority=2)
    side.start("runs")
    side.start("orphan", locked=False)
    side.finish("done", "completed")
    side.finish("done-later", "completed", AT_MS + 5000)
    side.finish("broken", "failed")
    side.client.rpush(side.key("done:logs"), "one", "two", "three")


def set_aside(side: Side) -> None:
    """As BullMQ 5 leaves a paused queue to which something was added before."""
    for name in ("a", "b", "c"):
        side.add(name)
    side.node.call("pause", queue=side.queue)
    side.client.lrem(side.key("wait"), 0, "b")
    side.client.lrem(side.key("wait"), 0, "c")
    side.client.lpush(side.key("paused"), "b", "c")


def only_set_aside(side: Side) -> None:
    set_aside(side)
    side.client.delete(side.key("wait"))


def only_delayed(side: Side) -> None:
    side.add("later", delay=60_000)
    side.node.call("pause", queue=side.queue)


def family(side: Side) -> None:
    side.flow(side.child("a"), side.child("b", side.child("grandchild")))


def busy_family(side: Side) -> None:
    """Children in every state, of which only some may go."""
    side.flow(
        side.child("idle"),
        side.child(
            "middle",
            side.child("below-runs"),
            side.child("below-broken"),
            side.child("below", side.child("bottom")),
        ),
        side.child("runs"),
        side.child("broken"),
        side.child("later", delay=60_000),
        side.child("urgent", priority=3),
        side.child("done"),
        side.child("half", side.child("half-done"), side.child("half-open")),
    )
    for name in ("runs", "below-runs"):
        side.start(name)
    for name in ("broken", "below-broken"):
        side.finish(name, "failed")
    for name, parent in (("done", "parent"), ("half-done", "half")):
        side.finish(name, "completed")
        side.client.srem(side.key(f"{parent}:dependencies"), side.key(name))
        side.client.hset(side.key(f"{parent}:processed"), side.key(name), "1")


def one_child(side: Side) -> None:
    side.flow(side.child("a"))


def ended_children(side: Side) -> None:
    """One child of each end; the parent waits for the last one."""
    side.flow(
        side.child("good"),
        side.child("ignored", ignoreDependencyOnFailure=True),
        side.child("fatal", failParentOnFailure=True),
        side.child("open"),
    )
    for name, state in (("good", "completed"), ("ignored", "failed"), ("fatal", "failed")):
        side.finish(name, state)
        side.client.srem(side.key("parent:dependencies"), side.key(name))
    side.client.hset(side.key("parent:processed"), side.key("good"), "1")
    side.client.hset(side.key("parent:failed"), side.key("ignored"), "boom")
    side.client.zadd(side.key("parent:unsuccessful"), {side.key("fatal"): AT_MS})


def finished(side: Side) -> None:
    side.add("plain")
    side.add("first-in", lifo=True)
    side.add("urgent", priority=4)
    side.add("good")
    for number, name in enumerate(("plain", "first-in", "urgent")):
        side.finish(name, "failed", AT_MS + number)
    side.finish("good", "completed")


def scheduled(side: Side) -> None:
    repeat = {"every": 3_600_000, "startDate": FAR_MS}
    side.node.call("upsertScheduler", queue=side.queue, id="tick", repeat=repeat, template={})
    side.add("plain")
    side.add("later", delay=60_000)


PAUSING = {
    "pause": Case(states, "pause", call=lambda q: q.pause()),
    "pause-empty": Case(lambda _side: None, "pause", call=lambda q: q.pause()),
    "resume": Case(
        lambda side: [states(side), side.node.call("pause", queue=side.queue)],
        "resume",
        call=lambda q: q.resume(),
    ),
    "resume-a-running-one": Case(states, "resume", call=lambda q: q.resume()),
    "resume-set-aside": Case(set_aside, "resume", call=lambda q: q.resume()),
    "resume-only-set-aside": Case(only_set_aside, "resume", call=lambda q: q.resume()),
    "resume-delayed": Case(only_delayed, "resume", call=lambda q: q.resume()),
}

SETTINGS = {
    "concurrency": Case(
        states, "setGlobalConcurrency", (3,), lambda q: q.set_global_concurrency(3)
    ),
    "no-concurrency": Case(
        lambda side: side.node.call("setGlobalConcurrency", queue=side.queue, concurrency=2),
        "removeGlobalConcurrency",
        call=lambda q: q.remove_global_concurrency(),
    ),
    "rate-limit": Case(
        states, "setGlobalRateLimit", (3, 1000), lambda q: q.set_global_rate_limit(3, "1s")
    ),
    "no-rate-limit": Case(
        lambda side: side.client.hset(side.key("meta"), mapping={"max": 1, "duration": 2}),
        "removeGlobalRateLimit",
        call=lambda q: q.remove_global_rate_limit(),
    ),
    "hold": Case(states, "rateLimit", (60_000,), lambda q: q.rate_limit("60s")),
    "no-hold": Case(
        lambda side: side.client.set(side.key("limiter"), 5, px=60_000),
        "removeRateLimitKey",
        call=lambda q: q.remove_rate_limit_key(),
    ),
    "trim-events": Case(states, "trimEvents", (0,), lambda q: q.trim_events(0)),
}

MANY = {
    "drain": Case(states, "drain", call=lambda q: q.drain()),
    "drain-delayed": Case(states, "drain", (True,), lambda q: q.drain(delayed=True)),
    "drain-set-aside": Case(set_aside, "drain", call=lambda q: q.drain()),
    "drain-family": Case(family, "drain", call=lambda q: q.drain()),
    "drain-scheduled": Case(scheduled, "drain", (True,), lambda q: q.drain(delayed=True)),
    "promote-jobs": Case(states, "promoteJobs", ({},), lambda q: q.promote_jobs()),
    "promote-jobs-of-none": Case(finished, "promoteJobs", ({},), lambda q: q.promote_jobs()),
    "promote-jobs-one-by-one": Case(
        states, "promoteJobs", ({"count": 1},), lambda q: q.promote_jobs(count=1)
    ),
    "retry-jobs": Case(finished, "retryJobs", ({},), lambda q: q.retry_jobs()),
    "retry-jobs-two-at-a-time": Case(
        finished, "retryJobs", ({"count": 2},), lambda q: q.retry_jobs(count=2)
    ),
    "retry-completed-jobs": Case(
        finished, "retryJobs", ({"state": "completed"},), lambda q: q.retry_jobs(state="completed")
    ),
    "retry-jobs-until": Case(
        finished,
        "retryJobs",
        ({"timestamp": AT_MS + 1},),
        lambda q: q.retry_jobs(timestamp=AT_MS + 1),
    ),
    "retry-jobs-of-a-family": Case(ended_children, "retryJobs", ({},), lambda q: q.retry_jobs()),
    "obliterate-idle": Case(finished, "obliterate", ({},), lambda q: q.obliterate()),
    "obliterate-forced": Case(
        states, "obliterate", ({"force": True},), lambda q: q.obliterate(force=True)
    ),
    "obliterate-scheduled": Case(scheduled, "obliterate", ({},), lambda q: q.obliterate()),
    "obliterate-family": Case(family, "obliterate", ({},), lambda q: q.obliterate()),
}

CLEANING = {
    f"clean-{state}-{limit}": Case(
        states, "clean", (0, limit, state), lambda q, s=state, n=limit: q.clean("0s", n, s)
    )
    for state in ("completed", "failed", "wait", "active", "delayed", "prioritized", "paused")
    for limit in (0, 1)
    if (state, limit) != ("active", 1)  # Node counts the locked ones that it leaves
} | {
    "clean-young": Case(states, "clean", (10**11, 0), lambda q: q.clean("100000000s")),
    "clean-set-aside": Case(
        set_aside, "clean", (0, 0, "paused"), lambda q: q.clean("0s", 0, "paused")
    ),
    "clean-family": Case(family, "clean", (0, 0, "wait"), lambda q: q.clean("0s", 0, "wait")),
    "clean-scheduled": Case(
        scheduled, "clean", (0, 0, "delayed"), lambda q: q.clean("0s", 0, "delayed")
    ),
    "clean-waiting-children": Case(
        family, "clean", (0, 0, "waiting-children"), lambda q: q.clean("0s", 0, "waiting-children")
    ),
}

REMOVING = {
    f"remove-{name}": Case(states, "remove", (name,), lambda q, name=name: q.remove(name))
    for name in ("waits", "orphan", "done", "broken", "later", "urgent", "nobody")
} | {
    "remove-set-aside": Case(set_aside, "remove", ("b",), lambda q: q.remove("b")),
    "remove-parent": Case(family, "remove", ("parent",), lambda q: q.remove("parent")),
    "remove-parent-only": Case(
        family,
        "remove",
        ("parent", {"removeChildren": False}),
        lambda q: q.remove("parent", remove_children=False),
    ),
    "remove-last-child": Case(one_child, "remove", ("a",), lambda q: q.remove("a")),
    "remove-middle": Case(family, "remove", ("b",), lambda q: q.remove("b")),
    "remove-ended-family": Case(
        ended_children, "remove", ("parent",), lambda q: q.remove("parent")
    ),
}


def on_job(
    prepare: Callable[[Side], Any], job_id: str, act: str, *args: Any
) -> Callable[[Callable[[Any], Any]], Case]:
    return lambda call: Case(prepare, act, args, call, on=job_id)


ONE = {
    "promote": on_job(states, "later", "promote")(lambda j: j.promote()),
    "promote-prioritized": on_job(states, "later-first", "promote")(lambda j: j.promote()),
    "retry": on_job(finished, "plain", "retry", "failed")(lambda j: j.retry()),
    "retry-lifo": on_job(finished, "first-in", "retry", "failed")(lambda j: j.retry()),
    "retry-prioritized": on_job(finished, "urgent", "retry", "failed")(lambda j: j.retry("failed")),
    "retry-completed": on_job(finished, "good", "retry", "completed")(
        lambda j: j.retry("completed")
    ),
    "retry-reset": on_job(
        finished,
        "plain",
        "retry",
        "failed",
        {"resetAttemptsMade": True, "resetAttemptsStarted": True},
    )(lambda j: j.retry(reset_attempts_made=True, reset_attempts_started=True)),
    **{
        f"retry-child-{name}": on_job(ended_children, name, "retry", state)(
            lambda j, state=state: j.retry(state)
        )
        for name, state in (("good", "completed"), ("ignored", "failed"), ("fatal", "failed"))
    },
    "update-data": on_job(states, "runs", "updateData", {"é": [1, None, 0.5]})(
        lambda j: j.update_data({"é": [1, None, 0.5]})
    ),
    **{
        f"update-progress-{number}": on_job(states, "waits", "updateProgress", value)(
            lambda j, value=value: j.update_progress(value)
        )
        for number, value in enumerate([40, "half ½", {"done": [1]}, True, [1]])
    },
    "log": on_job(states, "done", "log", "four ½")(lambda j: j.log("four ½")),
    "log-limited": on_job(
        lambda side: [
            side.add("a", keepLogs=2),
            *[side.client.rpush(side.key("a:logs"), "x", "y")],
        ],
        "a",
        "log",
        "z",
    )(lambda j: j.log("z")),
    "clear-logs": on_job(states, "done", "clearLogs")(lambda j: j.clear_logs()),
    "clear-most-logs": on_job(states, "done", "clearLogs", 2)(lambda j: j.clear_logs(2)),
    "change-delay": on_job(states, "later", "changeDelay", 10_000)(lambda j: j.change_delay("10s")),
    **{
        f"change-priority-{name}-{priority}-{lifo}": on_job(
            states, name, "changePriority", {"priority": priority, "lifo": lifo}
        )(lambda j, p=priority, lifo=lifo: j.change_priority(p, lifo=lifo))
        for name in ("waits", "urgent", "later", "done", "runs")
        for priority in (0, 1, 3)
        for lifo in (False, True)
    },
}

FAMILY = {
    **{
        f"remove-unprocessed-children-{name}": on_job(prepare, job_id, "removeUnprocessedChildren")(
            lambda j: j.remove_unprocessed_children()
        )
        for name, prepare, job_id in (
            ("all", family, "parent"),
            ("some", busy_family, "parent"),
            ("below", busy_family, "middle"),
            ("none", one_child, "a"),
        )
    },
    **{
        f"remove-child-dependency-{name}": on_job(prepare, job_id, "removeChildDependency")(
            lambda j: j.remove_child_dependency()
        )
        for name, prepare, job_id in (
            ("one-of-two", family, "a"),
            ("last", one_child, "a"),
            ("running", busy_family, "runs"),
            ("done", busy_family, "done"),
        )
    },
}

CASES = FAMILY | PAUSING | SETTINGS | MANY | CLEANING | REMOVING | ONE
