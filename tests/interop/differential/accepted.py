"""Where toril is meant to differ from BullMQ, and how the comparison goes on all the same.

`ACCEPTED` is the one list. Each entry is a row of a table in `toril/runtime/lua/README.md` or
docs/bullmq.md ("Different on purpose"), where the reason stands; a test holds that. Either the step
that would show the difference is left out, or Node's server is made as toril leaves its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.interop.differential.steps import SETTLING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.interop.differential.keyspace import Keyspace
    from tests.interop.differential.steps import Held, Step, World

Command = tuple[str | int, ...]

_LISTS = {"wait", "active", "paused"}
_OVER_ANY_MAX = "9007199254740991"


@dataclass(frozen=True, slots=True)
class Difference:
    """One row of what is meant to differ.

    Attributes:
        row: the row's beginning, as it stands in the table.
        avoid: would this step show it? Then it is left out.
        even: commands that give Node's server what toril's has, after the step.
    """

    row: str
    avoid: Callable[[Step, World], bool] = lambda _step, _world: False
    even: Callable[[Step, Keyspace, Keyspace], list[Command]] = lambda _step, _node, _toril: []


def is_avoided(step: Step, world: World) -> bool:
    """Would this step show what is meant to differ?"""
    return any(one.avoid(step, world) for one in ACCEPTED)


def evened(step: Step, node: Keyspace, toril: Keyspace) -> list[Command]:
    """What makes Node's server as toril is meant to leave its own."""
    return [command for one in ACCEPTED for command in one.even(step, node, toril)]


def _refuses_a_child_among_others(step: Step, world: World) -> bool:
    """Alone, a refused child is evened; among others it would shift their numbers."""
    if step.act != "add" or len(step.args["jobs"]) == 1:
        return False
    named = [one["opts"] for one in step.args["jobs"] if "jobId" in one["opts"]]
    ids = [opts["jobId"] for opts in named]
    return any(
        "parent" in opts and (ids.count(opts["jobId"]) > 1 or world.job(step.queue, opts["jobId"]))
        for opts in named
    )


def _counts_no_refused_child(step: Step, node: Keyspace, toril: Keyspace) -> list[Command]:
    if step.act != "add" or "parent" not in step.args["jobs"][0]["opts"]:
        return []
    key = f"bull:{step.queue}:id"
    given, counted = (int(_value(keys, key) or 0) for keys in (toril, node))
    return [("SET", key, given)] if counted == given + 1 else []


def _finishes_before_a_taken_id(step: Step, world: World) -> bool:
    if step.act not in {"complete", "fail"}:
        return False
    held = _held_of(step, world)
    owned = world.job(held.queue, held.id).get("deid")
    noted = world.value(f"bull:{held.queue}:dn:{owned}", {}).get("jid")
    return noted is not None and bool(world.job(held.queue, noted))


def _waits_for_no_children(step: Step, world: World) -> bool:
    """Whether there ever were any, which decides, is toril's own knowledge."""
    if step.act != "wait_for_children":
        return False
    held = _held_of(step, world)
    key = f"bull:{held.queue}:{held.id}"
    return world.keys.keys().isdisjoint({f"{key}:dependencies", f"{key}:unsuccessful"})


def _retakes_a_lock(step: Step, world: World) -> bool:
    return step.act in SETTLING and world.may_retake(_held_of(step, world))


def _claims_where_only_we_are_held(step: Step, world: World) -> bool:
    is_held = world.value(f"bull:{step.queue}:limiter") == _OVER_ANY_MAX
    return step.act == "claim" and is_held and "max" not in world.meta(step.queue)


def _wakes_for_priorities(step: Step, node: Keyspace, toril: Keyspace) -> list[Command]:
    key = f"bull:{step.queue}:marker"
    has_more = "0" in _value(toril, key) and "0" not in _value(node, key)
    return [("ZADD", key, 0, "0")] if has_more else []


def _when(
    names: set[str], even: Callable[[Step, Keyspace, Keyspace], list[Command]]
) -> Callable[[Step, Keyspace, Keyspace], list[Command]]:
    return lambda step, node, toril: even(step, node, toril) if step.name in names else []


def _drains_around_a_schedule(step: Step, world: World) -> bool:
    waiting = world.ids(step.queue, ["wait"])
    return step.name == "drain" and any(one.startswith("repeat:") for one in waiting[:-1])


def _cleans_some_of_a_list(step: Step, _world: World) -> bool:
    if step.name != "clean":
        return False
    _ms, limit, state = step.args["args"]
    return limit > 0 and state in _LISTS


def _obliterates_while_jobs_run(step: Step, world: World) -> bool:
    is_unforced = step.name == "obliterate" and not step.args["args"][0]["force"]
    return is_unforced and bool(world.ids(step.queue, ["active"]))


def _held_of(step: Step, world: World) -> Held:
    return next(one for one in world.held if one.token == step.args["token"])


def _value(keys: Keyspace, key: str) -> Any:
    entry = keys.get(key)
    return () if entry is None else entry.value


ACCEPTED = (
    Difference(
        "add | a child that is refused uses up no number",
        avoid=_refuses_a_child_among_others,
        even=_counts_no_refused_child,
    ),
    Difference(
        "finish | a noted job whose id is taken by then gets a number",
        avoid=_finishes_before_a_taken_id,
    ),
    Difference(
        "wait for children | with none left to wait for, the job is released at once",
        avoid=_waits_for_no_children,
    ),
    Difference("settle | an absent lock can be retaken", avoid=_retakes_a_lock),
    Difference(
        "`rate_limit` binds toril workers without any limit being set",
        avoid=_claims_where_only_we_are_held,
    ),
    Difference(
        "give back | a base marker for prioritized jobs, too",
        even=_when({"give_back", "hold"}, _wakes_for_priorities),
    ),
    Difference(
        "change priority | a base marker in front of a priority, too",
        even=_when({"changePriority"}, _wakes_for_priorities),
    ),
    Difference(
        "drain | a schedule's next job stays wherever it waits", avoid=_drains_around_a_schedule
    ),
    Difference(
        "clean | the limit counts jobs that were removed; one `cleaned` event for all calls",
        avoid=_cleans_some_of_a_list,
    ),
    Difference("obliterate | a refusal changes nothing", avoid=_obliterates_while_jobs_run),
)
