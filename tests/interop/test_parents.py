"""What the end of a child does to its parent, wherever that is: a table, beside Node's own.

Every row is laid down twice with the same keys; Node ends the child of the one, toril's scripts the
child of the other, and everything under the two prefixes is compared: places, fields, events,
markers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.keyspace import snapshot
from tests.support.lane import RAISED, Lane
from toril.call import Outcome, Verdict
from toril.runtime.options import KeepRule
from toril.runtime.retry import Complete, Fail

if TYPE_CHECKING:
    from collections.abc import Sequence

    import redis

    from tests.interop.node import NodeDriver
    from tests.support.keyspace import Entry

PLACES = [
    "waiting-children", "active", "wait", "prioritized", "delayed", "completed", "failed", "none",
    "gone",
]  # fmt: skip
"""Where the parent is; `none` is a job in no list."""
GATES = {"open": {}, "paused": {"paused": 1}, "maxed": {"concurrency": 1}}
FLAGS = ["", "fpof", "cpof", "idof", "rdof"]
COMPLETED = Outcome(Verdict.RETURNED, value=b"1")
TIMES = {b"processedOn", b"finishedOn", b"timestamp", b"stacktrace"}
THIS_YEAR_MS = 10**12
PER_CALL = 100
"""Jobs that Node ends at a time; chosen: its driver's answer comes in time on a busy machine."""


@dataclass(frozen=True)
class Row:
    """A parent, `p` in the queue `parents`, and how its child ends, `c` in `children`."""

    place: str
    gate: str
    flag: str
    fails: bool
    order: tuple[int, int]
    has_sibling: bool
    is_kept: bool


ORDERS = [(0, 0), (3, 0), (3, 5000)]
"""Priority and delay of the parent."""
BOTH = (False, True)
ALL = [Row(*values) for values in product(PLACES, GATES, FLAGS, BOTH, ORDERS, BOTH, BOTH)]
FEW = [row for row in ALL if row.is_kept and not row.has_sibling and row.order == (0, 0)]


@pytest.mark.parametrize("rows", [FEW, pytest.param(ALL, marks=pytest.mark.slow)], ids=len)
def test_53_parent_is_left_as_node_leaves_it(
    node: NodeDriver, redis_client: redis.Redis, rows: Sequence[Row]
) -> None:
    for at, row in enumerate(rows):
        for side in "nt":
            lay(redis_client, f"{side}{at}", row)
    jobs = [{"prefix": f"n{at}", "fails": row.fails} for at, row in enumerate(rows)]
    for first in range(0, len(jobs), PER_CALL):
        node.call("endJobs", queue="children", jobs=jobs[first : first + PER_CALL])
    for at, row in enumerate(rows):
        end_by_toril(redis_client, f"t{at}", row)
    views = views_of(redis_client)
    differing = {
        row: (views[f"n{at}"], views[f"t{at}"])
        for at, row in enumerate(rows)
        if views[f"n{at}"] != views[f"t{at}"]
    }
    assert len(views) == 2 * len(rows)
    assert differing == {}


def lay(client: redis.Redis, prefix: str, row: Row) -> None:
    """The keys of one row, as a producer would have left them."""
    parents, children, now_ms = f"{prefix}:parents:", f"{prefix}:children:", now(client)
    pipe = client.pipeline()
    plain = {"name": "n", "data": "{}", "timestamp": now_ms, "delay": 0, "priority": 0}
    meta = {"opts.maxLenEvents": 10_000}
    pipe.hset(f"{parents}meta", mapping=meta | GATES[row.gate])
    pipe.hset(f"{children}meta", mapping=meta)
    if row.gate == "maxed":
        pipe.lpush(f"{parents}active", "another")
    if row.place != "gone":
        priority, delay = row.order
        order = {"priority": priority, "delay": delay}
        pipe.hset(f"{parents}p", mapping=plain | {"opts": "{}"} | order)
        waited_for = [f"{children}c", f"{children}other"][: 1 + row.has_sibling]
        pipe.sadd(f"{parents}p:dependencies", *waited_for)
    if row.place in {"active", "wait"}:
        pipe.lpush(parents + row.place, "p")
    elif row.place not in {"none", "gone"}:
        pipe.zadd(parents + row.place, {"p": 5})
    told = {"id": "p", "queueKey": f"{prefix}:parents"} | ({row.flag: True} if row.flag else {})
    opts = {} if row.is_kept else {"removeOnFail": True, "removeOnComplete": True}
    tie = {"parentKey": f"{parents}p", "parent": json.dumps(told), "opts": json.dumps(opts)}
    pipe.hset(f"{children}c", mapping=plain | tie)
    pipe.lpush(f"{children}wait", "c")
    pipe.execute()


def end_by_toril(client: redis.Redis, prefix: str, row: Row) -> None:
    lane = Lane(client, base=f"{prefix}:children:", now_ms=now(client))
    (claim,) = lane.claim().claims
    keep = KeepRule() if row.is_kept else KeepRule(count=0)
    if row.fails:
        lane.settle(claim, Fail("boom", keep=keep), RAISED)
    else:
        lane.settle(claim, Complete(keep=keep), COMPLETED)


def views_of(client: redis.Redis) -> dict[str, dict[str, Any]]:
    """Prefix → the rest of the key → its value, without times and what is toril's own."""
    views: dict[str, dict[str, Any]] = {}
    for name, entry in snapshot(client).items():
        prefix, _, rest = name.partition(":")
        views.setdefault(prefix, {})[rest] = said(entry, f"{prefix}:".encode())
    return views


def said(entry: Entry, prefix: bytes) -> str:
    match entry.kind:
        case "hash":
            fields = sorted((name, text) for name, text in entry.value.items() if name not in TIMES)
            value: Any = [(name, text) for name, text in fields if not name.startswith(b"t:")]
        case "zset":
            scores = sorted(entry.value.items())
            value = [(one, "time" if at > THIS_YEAR_MS else at) for one, at in scores]
        case "set":
            value = sorted(entry.value)
        case "stream":
            value = [
                sorted((fields | {b"delay": b""}).items()) for _entry_id, fields in entry.value
            ]
        case _:
            value = entry.value
    return repr(value).replace(prefix.decode(), "")


def now(client: redis.Redis) -> int:
    seconds, micros = client.time()
    return seconds * 1000 + micros // 1000
