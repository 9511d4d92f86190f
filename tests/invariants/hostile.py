"""What others may leave in a job's hash, as lists of cases; how each must end stands with it.

A `Case` is a job (`bad`) and keys around it. `hostile_keys.py` has what is wrong beside the hash.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis

QUEUE = "hostile"
BASE = f"bull:{QUEUE}:".encode()
PLAIN = {"name": "echo", "data": "{}", "opts": "{}", "timestamp": 1, "delay": 0, "priority": 0}

Value = str | bytes | dict[Any, Any] | list[Any] | set[Any] | tuple[Any, ...]
"""Of a key: a string, hash, list or set, or a sorted set as pairs of member and score."""


@dataclass(frozen=True)
class Case:
    """One job of a foreign program.

    Attributes:
        fields: of its hash, over `PLAIN`; None for an id without one.
        keys: further keys of the queue, by what follows the base.
        id: the job's.
        place: the list or set in which it stands.
        ends: where it ends: `completed`, `failed`, or `gone` (from every list and set).
        why: what its `failedReason` says, a regular expression.
        attempts: how many may be recorded until then.
    """

    fields: dict[str, Any] | None = field(default_factory=dict)
    keys: dict[str, Value] = field(default_factory=dict)
    id: bytes = b"bad"
    place: str = "wait"
    ends: str = "failed"
    why: str = ""
    attempts: int = 1


def put(client: redis.Redis, suffix: str | bytes, value: Value) -> None:
    """One key of the queue."""
    key = BASE + (suffix if isinstance(suffix, bytes) else suffix.encode())
    match value:
        case dict():
            client.hset(key, mapping=value)
        case list():
            client.rpush(key, *value)
        case set():
            client.sadd(key, *value)
        case tuple():
            client.zadd(key, dict(value))
        case _:
            client.set(key, value)


def bad(ends: str = "failed", why: str = "", **fields: Any) -> Case:
    """A job that waits, with these fields."""
    return Case(fields, ends=ends, why=why)


def _options(why: str, **opts: Any) -> Case:
    return bad(why=rf"options are not readable.*{why}", name="fail", opts=json.dumps(opts))


NESTED = "[" * 5000 + "]" * 5000

OPTIONS = {
    "are no JSON": bad(why="options are not readable", opts="{"),
    "are a list": bad(why="Expected `object`", opts="[1]"),
    "are text": bad(why="Expected `object`", opts='"x"'),
    "are null": bad(why="Expected `object`", opts="null"),
    "are no UTF-8": bad(why="UTF-8|utf-8", opts=b'{"a":"\xff"}'),
    "hold NaN": bad(why="malformed", opts='{"a":NaN}'),
    "are nested deeply": bad(why="nested too deeply", opts=f'{{"a":{NESTED}}}'),
    "are huge": bad(why="options are 6000009 bytes", opts=json.dumps({"a": "x" * 6_000_000})),
    "unknown are kept": bad("completed", opts='{"zebra":{"a":[1]}}'),
    "attempts object": _options("attempts", attempts={}),
    "attempts text": _options("attempts", attempts="many"),
    "attempts NaN": _options("NaN", attempts="nan"),
    "attempts infinite": bad("completed", opts='{"attempts":"inf"}'),
    "backoff text": _options("backoff", backoff="soon"),
    "backoff list": _options("backoff", backoff=[1]),
    "backoff type": _options("backoff.type", backoff={"type": 5}),
    "backoff jitter NaN": _options("NaN", attempts=3, backoff={"type": "fixed", "jitter": "nan"}),
    "removeOnComplete text": _options("removeOnComplete", removeOnComplete="yes"),
    "removeOnFail count": _options("removeOnFail.count", removeOnFail={"count": []}),
    "removeOnFail age NaN": _options("NaN", removeOnFail={"age": "nan"}),
    "keepLogs object": _options("kl", kl={}),
    "stackTraceLimit text": _options("stackTraceLimit", stackTraceLimit="all"),
    "lifo object": bad("completed", opts='{"lifo":{}}'),
    "telemetry of wrong types": bad("completed", opts='{"tm":[5],"omc":{}}'),
    "strategy that nobody has": Case(
        {"name": "fail", "opts": '{"attempts":2,"backoff":{"type":"\\n{"}}'}, attempts=2
    ),
}

PAYLOADS = {
    "data is no JSON": bad(why="data is not JSON", data="{"),
    "data is no UTF-8": bad(why="data is not JSON", data=b'"\xff"'),
    "data is NaN": bad(why="data is not JSON", data="NaN"),
    "data is nested deeply": bad(why="data is not JSON", data="[" * 100_000 + "]" * 100_000),
    "data is huge": bad(why="data are 17000000 bytes", data="x" * 17_000_000),
    "data is empty": bad("completed", data=""),
    "name is huge": bad(why="job name is 5000000 bytes", name="n" * 5_000_000),
    "name is no UTF-8": bad(why="no processor for job name", name=b"\xff\xfe"),
    "name with control characters": bad(why="no processor", name="a\0b\n\x1b[31m"),
    "deid is huge": bad("completed", deid="d" * 5_000_000),
    "parent is huge": bad("completed", parentKey="bull:hostile:dad", parent="x" * 5_000_000),
    "stacktrace is huge": bad(why="^boom$", name="fail", stacktrace=json.dumps(["x" * 9_000_000])),
    "stacktrace is no JSON": bad(why="^boom$", name="fail", stacktrace="{"),
    "stacktrace is an object": bad(why="^boom$", name="fail", stacktrace='{"a":1}'),
    "stacktrace holds NaN": bad(why="^boom$", name="fail", stacktrace="[NaN]"),
    "stacktrace holds anything": bad(why="^boom$", name="fail", stacktrace='[null,{"a":[1]}]'),
    "defa is huge": bad(why="^d+$", defa="d" * 1_000_000),
    "only a name": Case({"opts": "", "data": "", "timestamp": ""}, ends="completed"),
}

NO_NUMBERS = ("garbage", "nan", "inf", "-1e300", "1e300")
COUNTERS = ("atm", "ats", "stc", "t:crashes", "t:interruptions", "timestamp", "delay", "priority")
TWICE = {"name": "fail-until", "data": '{"succeed_at":2}', "opts": '{"attempts":3}'}

NUMBERS = {
    f"{name} is {value}": Case(TWICE | {name: value}, ends="completed", attempts=2)
    for name in COUNTERS
    for value in NO_NUMBERS
} | {
    f"delayed, priority is {value}": Case(
        {"priority": value}, id=b"bad", place="delayed", ends="completed"
    )
    for value in NO_NUMBERS
}

OURS = {
    f"{name} is garbage": bad(why="^boom$", name="fail", **{name: "\xff {garbage"})
    for name in ("t:settled", "t:history", "t:said", "t:verdict", "t:detail", "t:usage", "t:stack")
} | {"t:cancel is garbage": bad(why="^cancelled$", **{"t:cancel": "garbage"})}

IDS = {
    name: Case(id=job_id, ends="completed")
    for name, job_id in {
        "newline": b"a\nb",
        "no UTF-8": b"\xff\xfe",
        "lone surrogate": b"\xed\xa0\x80",
        "NUL": b"a\0b",
        "space": b" ",
        "empty": b"",
        "colons": b"a:b:c:d",
    }.items()
} | {
    "very long": Case(id=b"l" * 100_000, why="job id is 100000 bytes"),
    "no UTF-8, retried": Case(TWICE, id=b"\xff\xfe", ends="completed", attempts=2),
    "no UTF-8, stalled": Case(id=b"\xff\xfe", place="active", ends="completed"),
    "does not exist": Case(None, ends="gone"),
    "does not exist, no UTF-8": Case(None, id=b"\xff", ends="gone"),
    "of a key of the queue": Case(None, id=b"meta", ends="gone"),
    "obsolete marker": Case(None, id=b"0:1", ends="gone"),
}
