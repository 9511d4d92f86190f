"""From a wish to the step that it is now, or to none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.interop.differential.steps import NOBODY, PLACES, QUEUES, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.interop.differential.steps import Held, Wish, World

HOLD_MS = 300_000
_RUNNABLE = ("wait", "prioritized")
_ENDED = ("failed", "completed")


def step_of(wish: Wish, world: World) -> Step | None:
    """What a wish is on these queues; None where it means nothing."""
    return _STEPS[wish.act](wish, world)


def _add(wish: Wish, world: World, act: str = "add") -> Step:
    jobs = [
        {"name": "work", "data": one["data"], "opts": _options(one, wish.queue, world)}
        for one in wish.args["jobs"]
    ]
    return Step(act, wish.queue, {"jobs": jobs})


def _options(one: Mapping[str, Any], queue: str, world: World) -> dict[str, Any]:
    opts, ties = dict(one["opts"]), one["ties"]
    if "deduplication" in ties:
        opts["deduplication"] = ties["deduplication"]
    if "parent" in ties:
        parent = _parent(ties["parent"], queue, opts.get("jobId"), world)
        opts |= {"parent": parent} if parent else {}
        opts |= {ties["flag"]: True} if parent and ties["flag"] else {}
    return opts


def _parent(at: int, queue: str, job_id: str | None, world: World) -> dict[str, str] | None:
    """One of the jobs that may wait for children; none that this job is waited for by."""
    places = ("active", "waiting-children", *PLACES)
    found = [(where, one) for where in QUEUES for one in world.ids(where, places) if ":" not in one]
    found = found or [(queue, NOBODY)]
    where, parent_id = found[at % len(found)]
    key, child = f"bull:{where}:{parent_id}", f"bull:{queue}:{job_id}"
    for _ in range(100):
        if key == child:
            return None
        key = world.value(key, {}).get("parentKey", "")
    return {"id": parent_id, "queue": f"bull:{where}"}


def _flow(wish: Wish, world: World) -> Step:
    """Ids that were never used, or a job could become its own grandparent."""
    flow, name = wish.args["flow"], f"f{world.number}"
    children = [
        {
            "name": "work",
            "queueName": one["queue"],
            "opts": one["opts"]
            | {"jobId": f"{name}-{at}"}
            | ({one["flag"]: True} if one["flag"] else {}),
        }
        for at, one in enumerate(flow["children"])
    ]
    if flow["deep"]:
        first = children[0] | {"opts": children[0]["opts"] | {"jobId": f"{name}-x"}}
        children[0] = children[0] | {"children": [first]}
    root = {"name": "parent", "queueName": wish.queue, "opts": flow["opts"] | {"jobId": name}}
    return Step("flow", wish.queue, {"flow": root | {"children": children}})


def _claim(wish: Wish, world: World) -> Step:
    """A claim where there is something to claim; else, as a rule, jobs for the next one."""
    queues = [wish.queue, *QUEUES]
    queue = next((one for one in queues if world.ids(one, _RUNNABLE)), None)
    if queue is None and not wish.anywhere and not world.ids(wish.queue, ["delayed"]):
        return Step("add", wish.queue, {"jobs": [{"name": "work", "data": None, "opts": {}}] * 2})
    tokens = [f"token-{world.number}-{at}" for at in range(wish.args.get("count", 1))]
    return Step("claim", queue or wish.queue, {"tokens": tokens})


def _ending(wish: Wish, world: World) -> Step:
    """What ends an attempt, or begins one where there is none to end.

    A job that must not run fails, whatever was wished.
    """
    if not world.held:
        return _claim(wish, world)
    held = world.held[wish.pick % len(world.held)]
    if held.deferred is not None and world.has_lock(held):
        args = {"token": held.token, "message": held.deferred, "stack": "", "final": True}
        return Step("fail", held.queue, args)
    args = dict(wish.args)
    if wish.act == "fail":
        stack = f"Trace {world.number}" if args["stack"] else ""
        args |= {"message": f"broke at {world.number}", "stack": stack}
    return Step(wish.act, held.queue, {"token": held.token} | args)


def _report(wish: Wish, world: World) -> Step | None:
    held = [one for one in world.held if world.has_lock(one) and world.job(one.queue, one.id)]
    if not held:
        return None
    one = held[wish.pick % len(held)]
    return Step("report", one.queue, {"token": one.token} | wish.args)


def _lock(wish: Wish, world: World) -> Step | None:
    held: list[Held] = [one for one in world.held if world.has_lock(one)]
    if not held:
        return None
    one = held[wish.pick % len(held)]
    return Step(wish.act, one.queue, {"id": one.id})


def _on_job(
    places: tuple[str, ...],
    method: str,
    args: Callable[[Mapping[str, Any]], list[Any]] = lambda _args: [],
) -> Callable[[Wish, World], Step | None]:
    def step(wish: Wish, world: World) -> Step | None:
        job_id = world.pick(wish, places)
        told = {"id": job_id, "method": method, "args": args(wish.args)}
        return None if job_id is None else Step("on_job", wish.queue, told)

    return step


def _on_somebody(
    method: str, args: Callable[[Mapping[str, Any]], list[Any]] = lambda _args: []
) -> Callable[[Wish, World], Step | None]:
    """For what toril answers alike whether the job is there or not."""
    on_any = _on_job(PLACES, method, args)

    def step(wish: Wish, world: World) -> Step | None:
        found = on_any(wish, world)
        return None if found is None or found.args["id"] == NOBODY else found

    return step


def _on_queue(
    method: str, args: Callable[[Mapping[str, Any]], list[Any]] = lambda _args: []
) -> Callable[[Wish, World], Step]:
    return lambda wish, _world: Step(
        "on_queue", wish.queue, {"method": method, "args": args(wish.args)}
    )


def _remove(wish: Wish, world: World) -> Step | None:
    job_id = world.pick(wish, PLACES)
    args = {"method": "remove", "args": [job_id, dict(wish.args)]}
    return None if job_id is None else Step("on_queue", wish.queue, args)


def _retry(wish: Wish, world: World) -> Step | None:
    job_id = world.pick(wish, _ENDED)
    state = "completed" if job_id in world.ids(wish.queue, ["completed"]) else "failed"
    args = {"id": job_id, "method": "retry", "args": [state, dict(wish.args)]}
    return None if job_id is None else Step("on_job", wish.queue, args)


def _concurrency(wish: Wish, _world: World) -> Step:
    most = wish.args["most"]
    method = "removeGlobalConcurrency" if most is None else "setGlobalConcurrency"
    return Step("on_queue", wish.queue, {"method": method, "args": [most] if most else []})


def _rate(wish: Wish, _world: World) -> Step:
    most = wish.args["max"]
    method = "removeGlobalRateLimit" if most is None else "setGlobalRateLimit"
    args = [most, 2 * 60_000] if most else []
    return Step("on_queue", wish.queue, {"method": method, "args": args})


def _as_it_is(wish: Wish, _world: World) -> Step:
    return Step(wish.act, wish.queue, wish.args)


_STEPS: dict[str, Callable[[Wish, World], Step | None]] = {
    "add": _add,
    "add_by_node": lambda wish, world: _add(wish, world, "add_by_node"),
    "flow": _flow,
    "schedule": lambda wish, _world: Step("schedule", wish.queue, {"id": "s"} | dict(wish.args)),
    "claim": _claim,
    **dict.fromkeys(
        ["complete", "fail", "delay", "give_back", "hold", "wait_for_children"], _ending
    ),
    "report": _report,
    "lose_lock": _lock,
    "steal_lock": _lock,
    "pass_time": _as_it_is,
    "sweep": _as_it_is,
    "remove": _remove,
    "retry": _retry,
    "promote": _on_job(("delayed",), "promote"),
    "change_delay": _on_job(("delayed",), "changeDelay", lambda args: [args["ms"]]),
    "change_priority": _on_job(_RUNNABLE, "changePriority", lambda args: [dict(args)]),
    "update_data": _on_job(PLACES, "updateData", lambda args: [args["data"] or {}]),
    "update_progress": _on_job(PLACES, "updateProgress", lambda args: [args["progress"] or 0]),
    "log": _on_job(PLACES, "log", lambda args: [args["line"]]),
    "clear_logs": _on_somebody("clearLogs", lambda args: [args["keep"]]),
    "remove_own_deduplication": _on_somebody("removeDeduplicationKey"),
    "remove_deduplication": _on_queue("removeDeduplicationKey", lambda args: [args["id"]]),
    "pause": _on_queue("pause"),
    "resume": _on_queue("resume"),
    "promote_all": _on_queue("promoteJobs", lambda args: [dict(args)]),
    "retry_all": _on_queue("retryJobs", lambda args: [dict(args)]),
    "drain": _on_queue("drain", lambda args: [args["delayed"]]),
    "clean": _on_queue(
        "clean", lambda args: [args["minutes"] * 60_000, args["limit"], args["state"]]
    ),
    "obliterate": _on_queue("obliterate", lambda args: [dict(args)]),
    "concurrency": _concurrency,
    "rate": _rate,
    "hold_queue": _on_queue("rateLimit", lambda _args: [HOLD_MS]),
    "release_queue": _on_queue("removeRateLimitKey"),
    "trim_events": _on_queue("trimEvents", lambda _args: [0]),
}
"""Wish → how it becomes a step."""
