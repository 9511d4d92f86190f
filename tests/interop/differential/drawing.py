"""The strategies: sequences of wishes. Times are whole minutes, as `keyspace.py` compares them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.interop.differential.steps import QUEUES, Wish

MINUTE_MS = 60_000
FLAGS = (
    "failParentOnFailure",
    "continueParentOnFailure",
    "ignoreDependencyOnFailure",
    "removeDependencyOnFailure",
)

DATA = st.sampled_from([None, {"n": 1}, 7, "half ½", {"path/é": ['"quoted"\n', None, 0.5]}, []])
MINUTES = st.integers(1, 5).map(lambda minutes: minutes * MINUTE_MS)
COUNTS = st.integers(0, 3)
PRIORITIES = st.integers(0, 3)
SEVERAL = st.integers(1, 3)

_KEEP = st.one_of(
    st.booleans(),
    COUNTS,
    st.fixed_dictionaries({"age": st.sampled_from([0, 60, 180]), "limit": SEVERAL}),
    st.fixed_dictionaries({"count": SEVERAL}),
    st.fixed_dictionaries({"age": st.sampled_from([0, 60]), "limit": SEVERAL, "count": SEVERAL}),
)
_BACKOFF = st.fixed_dictionaries(
    {"type": st.sampled_from(["fixed", "exponential"]), "delay": st.just(MINUTE_MS)}
)
_DEDUPLICATION = st.fixed_dictionaries(
    {"id": st.sampled_from(["d", "d", "d", "e"])},
    optional={
        "ttl": st.sampled_from([10 * MINUTE_MS, 30 * MINUTE_MS]),
        **{name: st.just(True) for name in ("extend", "replace", "keepLastIfActive", "reschedule")},
    },
)


_OPTIONS = {
    "jobId": st.sampled_from(["a", "b", "c"]),
    "delay": MINUTES,
    "priority": PRIORITIES,
    "lifo": st.booleans(),
    "attempts": SEVERAL,
    "backoff": _BACKOFF,
    "removeOnComplete": _KEEP,
    "removeOnFail": _KEEP,
}


def options(**more: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Up to three options of a job, BullMQ's names."""
    known = _OPTIONS | more
    names = st.lists(st.sampled_from(sorted(known)), max_size=3, unique=True)
    return names.flatmap(
        lambda chosen: st.fixed_dictionaries({name: known[name] for name in chosen})
    )


_TIES = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"deduplication": _DEDUPLICATION}),
    st.fixed_dictionaries({"parent": st.integers(0, 8), "flag": st.sampled_from([None, *FLAGS])}),
)
_LIKE = st.fixed_dictionaries(
    {
        "data": DATA,
        "opts": st.sampled_from([{}, {"delay": MINUTE_MS}, {"delay": 3 * MINUTE_MS}]),
        "ties": st.fixed_dictionaries({"deduplication": _DEDUPLICATION}),
    }
)
_JOB = st.fixed_dictionaries({"data": DATA, "opts": options(), "ties": _TIES})
_FOREIGN = st.fixed_dictionaries(
    {
        "data": DATA,
        "opts": options(
            keepLogs=COUNTS, stackTraceLimit=COUNTS, timestamp=st.just(1_795_000_000_000)
        ),
        "ties": _TIES,
    }
)
_CHILD = st.fixed_dictionaries(
    {
        "opts": options(),
        "flag": st.sampled_from([None, *FLAGS]),
        "queue": st.sampled_from(QUEUES),
    }
)
_FLOW = st.fixed_dictionaries(
    {"opts": options(), "children": st.lists(_CHILD, min_size=1, max_size=3), "deep": st.booleans()}
)


_REPEAT = st.one_of(
    st.fixed_dictionaries(
        {"every": MINUTES},
        optional={"limit": SEVERAL, "offset": st.sampled_from([1000, MINUTE_MS])},
    ),
    st.fixed_dictionaries(
        {"pattern": st.sampled_from(["*/2 * * * *", "30 7 * * 1"])}, optional={"limit": SEVERAL}
    ),
)
_TEMPLATE = st.fixed_dictionaries({"name": st.just("tick"), "data": DATA}).flatmap(
    lambda template: st.fixed_dictionaries(
        {
            name: st.sampled_from([None, *values])
            for name, values in {
                "priority": [2],
                "attempts": [2],
                "removeOnComplete": [True],
            }.items()
        }
    ).map(lambda opts: template | {"opts": {n: v for n, v in opts.items() if v is not None}})
)


def _wishes(act: str, **args: st.SearchStrategy[Any]) -> st.SearchStrategy[Wish]:
    return st.builds(
        Wish,
        act=st.just(act),
        queue=st.sampled_from([QUEUES[0], *QUEUES]),
        pick=st.integers(0, 9),
        anywhere=st.integers(0, 9).map(lambda dice: dice == 9),
        args=st.fixed_dictionaries(args),
    )


_ENDS = [
    _wishes("complete", value=DATA),
    _wishes("fail", final=st.integers(0, 5).map(lambda dice: dice == 5), stack=st.booleans()),
]
_OFTEN = [
    _wishes("add", jobs=st.lists(_JOB, min_size=1, max_size=1)),
    _wishes("claim", count=SEVERAL),
    *_ENDS,
]
_NOW_AND_THEN = [
    _wishes("pass_time", ms=st.sampled_from([1, *(MINUTE_MS * n for n in (1, 2, 5, 15))])),
    _wishes("add", jobs=st.lists(_JOB, min_size=2, max_size=4)),
    *[_wishes("add", jobs=st.lists(_LIKE, min_size=1, max_size=2))] * 3,
    _wishes("add_by_node", jobs=st.lists(_FOREIGN, min_size=1, max_size=1)),
    _wishes("flow", flow=_FLOW),
    _wishes("schedule", repeat=_REPEAT, template=_TEMPLATE),
    _wishes("remove", removeChildren=st.booleans()),
    _wishes("promote"),
    _wishes("retry", resetAttemptsMade=st.booleans(), resetAttemptsStarted=st.booleans()),
    _wishes("change_delay", ms=MINUTES),
    _wishes("change_priority", priority=PRIORITIES, lifo=st.booleans()),
    _wishes("delay", ms=MINUTES),
    _wishes("wait_for_children"),
    _wishes("resume"),
    _wishes("report", progress=DATA, lines=st.lists(st.just("a line ½"), max_size=2), data=DATA),
]
_RARELY = [
    _wishes("give_back"),
    _wishes("hold", ms=st.just(5 * MINUTE_MS)),
    _wishes("sweep"),
    _wishes("lose_lock"),
    _wishes("steal_lock"),
    _wishes("update_data", data=DATA),
    _wishes("update_progress", progress=DATA),
    _wishes("log", line=st.just("one line")),
    _wishes("clear_logs", keep=COUNTS),
    _wishes("remove_own_deduplication"),
    _wishes("remove_deduplication", id=st.sampled_from(["d", "e"])),
    _wishes("pause"),
    _wishes("promote_all", count=SEVERAL),
    _wishes("retry_all", state=st.sampled_from(["failed", "completed"]), count=SEVERAL),
    _wishes("drain", delayed=st.booleans()),
    _wishes(
        "clean",
        minutes=st.integers(0, 3),
        limit=COUNTS,
        state=st.sampled_from(
            ["completed", "failed", "wait", "active", "delayed", "prioritized", "waiting-children"]
        ),
    ),
    _wishes("concurrency", most=st.sampled_from([None, None, None, 1, 2])),
    _wishes("rate", max=st.sampled_from([None, None, None, 1, 2, 3])),
    _wishes("release_queue"),
    _wishes("trim_events"),
]
_ONCE_IN_A_WHILE = [_wishes("obliterate", force=st.booleans()), _wishes("hold_queue")]


def _weighed() -> st.SearchStrategy[Wish | None]:
    """One of all, by how often it should come; none at all is the simplest, so that a wish that
    does not matter shrinks away."""
    shares = [(_OFTEN, 24), (_NOW_AND_THEN, 6), (_RARELY, 2), (_ONCE_IN_A_WHILE, 1)]
    each = [st.none(), *(one for group, share in shares for one in group for _ in range(share))]
    return st.sampled_from(range(len(each))).flatmap(lambda at: each[at])


WISHES = st.lists(st.lists(_weighed(), min_size=1, max_size=12), min_size=1, max_size=12).map(
    lambda parts: [wish for part in parts for wish in part if wish is not None]
)
"""Sequences of dozens of wishes, as lists in a list: so they grow long, and shrink to one."""
