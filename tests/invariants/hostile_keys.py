"""What others may leave in keys beside a job's hash; `hostile.py` has the hash, and the words.

`STATES` are keys of the queue that are worked around, `BROKEN` those without which nobody can work
until somebody mends them.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from tests.invariants.hostile import (
    IDS,
    NESTED,
    NUMBERS,
    OPTIONS,
    OURS,
    PAYLOADS,
    PLAIN,
    Case,
    bad,
)

if TYPE_CHECKING:
    from tests.invariants.hostile import Value

KEYS = {
    **{
        f"hash is a {kind}": Case(None, {"bad": value}, ends="gone")
        for kind, value in {"string": "x", "list": ["x"], "sorted set": (("x", 1),)}.items()
    },
    "lock is a hash": Case(keys={"bad:lock": {"a": 1}}, ends="completed"),
    "lock is foreign": Case(keys={"bad:lock": "somebody"}, ends="completed"),
    "logs are a string": Case({"name": "log"}, {"bad:logs": "x"}, ends="completed"),
    "dependencies are a string": Case(keys={"bad:dependencies": "x"}, why="bad:dependencies"),
    "dependencies are a list": Case(keys={"bad:dependencies": ["x"]}, why="bad:dependencies"),
    "unsuccessful is a string": Case(keys={"bad:unsuccessful": "x"}, why="bad:unsuccessful"),
    "dependencies never end": Case(keys={"bad:dependencies": {"x"}}, why="still pending"),
    "processed is a string": Case(
        {"name": "children-values"}, {"bad:processed": "x"}, why="WRONGTYPE"
    ),
    "processed holds no JSON": Case(
        {"name": "children-values"}, {"bad:processed": {"x": "{"}}, why="is not JSON"
    ),
    "de: is a list": Case({"deid": "x"}, {"de:x": ["x"]}, ends="completed"),
    "de: is a hash": Case({"deid": "x"}, {"de:x": {"a": 1}}, ends="completed"),
    "dn: is a string": Case({"deid": "x"}, {"de:x": "bad", "dn:x": "x"}, ends="completed"),
    "dn:, and id is no number": Case(
        {"deid": "x"}, {"de:x": "bad", "dn:x": {"name": "echo"}, "id": "x"}, ends="completed"
    ),
    **{
        f"dn: with numbers that are {value}": Case(
            {"deid": "x"},
            {
                "de:x": "bad",
                "dn:x": {
                    "name": "echo",
                    "opts": json.dumps(
                        {"delay": value, "priority": value, "de": {"id": "x", "ttl": value}}
                    ),
                },
            },
            ends="completed",
        )
        for value in ("nan", "inf", {}, [])
    },
    "active without a hash": Case(None, place="active", ends="gone"),
    "active without a hash, locked": Case(None, {"bad:lock": "x"}, place="active", ends="gone"),
    "active without a lock": Case(place="active", ends="completed"),
    "active, lock is a hash": Case(keys={"bad:lock": {"a": 1}}, place="active", ends="completed"),
    "active, hash is a string": Case(None, {"bad": "x"}, place="active", ends="gone"),
    "active, stc is garbage": Case({"stc": "nan"}, place="active", ends="completed"),
    "active, repeat is a string": Case(
        {"rjk": "s", "stc": 5}, {"repeat": "x"}, place="active", why="stalled more than"
    ),
}

CHILD = {
    "parentKey": "bull:hostile:dad",
    "parent": '{"id":"dad","queueKey":"bull:hostile","fpof":true}',
}
FAILS = CHILD | {"name": "fail"}
WAITED_FOR: dict[str, Value] = {
    "dad:dependencies": {"bull:hostile:bad"},
    "waiting-children": (("dad", 1),),
}

FLOWS = {
    "parent is missing": Case(CHILD, ends="completed"),
    "parent is missing, child fails": Case(FAILS, why="^boom$"),
    "parent is a string": Case(CHILD, {"dad": "x"} | WAITED_FOR, ends="completed"),
    "parent is a string, child fails": Case(FAILS, {"dad": "x"} | WAITED_FOR, why="^boom$"),
    "parent's dependencies are a string": Case(
        CHILD, {"dad": PLAIN, "dad:dependencies": "x"}, ends="completed"
    ),
    "parent's processed is a string": Case(
        CHILD, {"dad": PLAIN, "dad:processed": "x"} | WAITED_FOR, ends="completed"
    ),
    "parent's unsuccessful is a string": Case(
        FAILS, {"dad": PLAIN, "dad:unsuccessful": "x"} | WAITED_FOR, why="^boom$"
    ),
    "parent's key is garbage": bad("completed", parentKey="nocolon", parent="{"),
    "parent is nested deeply": bad("completed", parentKey="bull:hostile:dad", parent=NESTED),
    "parent is itself": Case(
        {"parentKey": "bull:hostile:bad"}, {"bad:dependencies": {"bull:hostile:bad"}}, why="pending"
    ),
    "parent's queue is broken": Case(
        {"parentKey": "bull:hostile:x:dad"}, {"x:wait": "x"}, why="bull:hostile:x:wait"
    ),
    **{
        f"parent's numbers are {value}": Case(
            CHILD,
            {"dad": PLAIN | {"delay": value, "priority": value}} | WAITED_FOR,
            ends="completed",
        )
        for value in ("nan", "inf", "-inf")
    },
    "parent's queue is broken, child fails": Case(
        {"parentKey": "bull:hostile:x:dad", "name": "fail"}, {"x:wait": "x"}, why="^boom$"
    ),
}

SLOT_MS = int(time.time() * 1000)


def scheduled(
    ends: str = "completed",
    why: str = "",
    scheduler: Value | None = None,
    score: float = SLOT_MS,
    **opts: Any,
) -> Case:
    """The current job of a schedule."""
    named = {"name": "echo", "every": "60000", "ic": "1"} if scheduler is None else scheduler
    text = opts.pop("text", None) or json.dumps({"repeat": {"every": 60_000}} | opts)
    return Case(
        {"rjk": "s", "opts": text},
        {"repeat": (("s", score),), "repeat:s": named},
        id=f"repeat:s:{score:.0f}".encode(),
        ends=ends,
        why=why,
    )


def by_pattern(why: str, **opts: Any) -> Case:
    """The same, of a schedule by cron pattern."""
    return scheduled("failed", why, {"name": "echo"}, **opts)


SCHEDULES = {
    "scheduler is a string": scheduled(scheduler="x"),
    "scheduler is garbage": scheduled(scheduler={"every": "x", "offset": "y", "ic": "z"}),
    **{
        f"every is {value}": scheduled(scheduler={"name": "echo", "every": value})
        for value in ("inf", "1e300", "nan")
    },
    "every is negative": scheduled("failed", "cron", {"name": "echo", "every": "-inf"}),
    **{
        f"offset and ic are {value}": scheduled(
            scheduler={"name": "echo", "every": "60000", "offset": value, "ic": value}
        )
        for value in ("nan", "inf", "-inf", "1e300")
    },
    "score is infinite": scheduled(score=float("inf")),
    "score is negative": scheduled(score=-5),
    "options hold NaN": scheduled("failed", "not readable", text='{"repeat":{"every":1},"z":NaN}'),
    "options are garbage": scheduled("failed", "not readable", text="{"),
    "options' numbers are NaN": scheduled(
        repeat={"every": 60_000, "count": "nan", "limit": "nan", "endDate": "nan"}, priority="nan"
    ),
    "options of wrong types": scheduled(repeat=[1, 2], priority={}, de={"id": {}}, lifo=[]),
    "pattern is garbage": by_pattern("cron pattern", repeat={"pattern": "x y z"}),
    "pattern is an object": by_pattern("cannot be read", repeat={"pattern": {}}),
    "pattern never comes": by_pattern("cron pattern", repeat={"pattern": "0 0 30 2 *"}),
    "zone is a path": by_pattern("not known", repeat={"pattern": "* * * * *", "tz": "../../etc"}),
    "prevMillis is infinite": by_pattern(
        "cannot be read", repeat={"pattern": "* * * * *"}, prevMillis="inf"
    ),
    "prevMillis is beyond all times": by_pattern(
        "cron pattern|no time", repeat={"pattern": "* * * * *"}, prevMillis=253402300799000
    ),
    "startDate is NaN": by_pattern(
        "cannot be read", repeat={"pattern": "* * * * *", "startDate": "nan"}
    ),
}

CASES: dict[str, dict[str, Case]] = {
    "options": OPTIONS,
    "payload": PAYLOADS,
    "numbers": NUMBERS,
    "ours": OURS,
    "ids": IDS,
    "keys": KEYS,
    "flows": FLOWS,
    "schedules": SCHEDULES,
}

STATES: dict[str, dict[str, Value]] = {
    "marker, foreign member": {"marker": (("foreign", -5),)},
    "marker, no UTF-8": {"marker": ((b"\xff", -5),)},
    "marker, infinite": {"marker": (("1", float("inf")),)},
    "marker, before all times": {"marker": (("1", float("-inf")),)},
    "delayed, infinite": {"delayed": (("far", float("inf")),)},
    "delayed, beyond all times": {"delayed": (("far", 1e300),)},
    "delayed, negative": {"delayed": (("early", -5_000_000),)},
    "delayed, before all times": {"delayed": (("early", float("-inf")),)},
    "prioritized, infinite": {"prioritized": (("late", float("inf")),)},
    "limit, no tokens": {"toril:limit": {"tokens": 0, "per_us": 1, "burst": 1}},
    "limit, negative": {"toril:limit": {"tokens": -5, "per_us": -5, "burst": -1}},
    "limit, NaN": {"toril:limit": {"tokens": "nan", "per_us": "nan", "burst": "nan"}},
    "limit, infinite": {"toril:limit": {"tokens": 1, "per_us": "inf", "burst": 1}},
    "limit, level is none": {
        "toril:limit": {"tokens": 1, "per_us": 1000, "burst": 5, "level": "nan", "at": "nan"}
    },
    "limit, level below all": {
        "toril:limit": {"tokens": 1, "per_us": 1000, "burst": 5, "level": -1, "at": "1e300"}
    },
    "limit, in the future": {
        "toril:limit": {"tokens": 1, "per_us": 1000, "burst": 5, "level": 0, "at": 2**53 - 2}
    },
    "limit, garbage": {"toril:limit": {"x": "y"}},
    "limit is a string": {"toril:limit": "x"},
    "hold is a list": {"toril:hold": ["x"]},
    "hold without an end": {"toril:hold": "x"},
    "meta, garbage": {
        "meta": {"concurrency": "x", "max": "y", "duration": "z", "opts.maxLenEvents": "garbage"}
    },
    "meta, negative": {"meta": {"opts.maxLenEvents": "-5", "max": "-5", "duration": "-5"}},
    "meta, NaN": {"meta": {"concurrency": "nan", "max": "nan", "duration": "nan"}},
    "meta, huge": {"meta": {"opts.maxLenEvents": "9" * 30, "max": "5", "duration": "inf"}},
    "max without duration": {"meta": {"max": "5"}},
    "limiter is garbage": {"limiter": "garbage", "meta": {"max": "5", "duration": "100"}},
    "limiter is a hash": {"limiter": {"a": 1}, "meta": {"max": "5", "duration": "100"}},
    "id is garbage": {"id": "garbage"},
    "stalled-check is a hash": {"stalled-check": {"a": 1}, "active": ["gone"]},
    "stalled-check without an end": {"stalled-check": "1", "active": ["gone"]},
    "stalled, foreign members": {"stalled": {b"\xff", "wait", "x", "0:1"}},
    "metrics are strings": {"metrics:completed": "x", "metrics:completed:data": "x"},
    "waiting-children is a string": {"waiting-children": "x"},
    "paused is a string": {"paused": "x"},
    "repeat is a string": {"repeat": "x"},
    "completed, foreign members": {
        "completed": (("wait", 1), ("x", 2), (b"\xff", 3)),
        "x": "x",
    },
    "foreign keys": {"whatever": "x", "a:b:c": ["x"], "toril:zebra": {"a": 1}, "wait:x": "x"},
}

BROKEN: dict[str, Value] = {
    "wait": {"a": 1},
    "active": (("x", 1),),
    "prioritized": ["x"],
    "delayed": {"x"},
    "completed": {"a": 1},
    "failed": "x",
    "stalled": "x",
    "meta": "x",
    "events": ["x"],
    "marker": "x",
    "pc": "garbage",
}
