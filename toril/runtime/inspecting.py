"""Looking at a queue as a whole: metrics, workers, settings; programs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toril.errors import InvalidOption
from toril.runtime import reading
from toril.runtime.changing import FINISHED
from toril.runtime.dialog import Program, call, plain
from toril.runtime.keys import client_name
from toril.runtime.numbers import stored_number

if TYPE_CHECKING:
    from collections.abc import Mapping

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
"""Names of labels; given by Prometheus' data model."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """How many jobs ended, minute by minute.

    Attributes:
        count: all of them.
        prev_ms: when the last minute was closed, epoch milliseconds; 0 without any.
        prev_count: how many had ended then.
        data: jobs of each minute asked for, the newest first.
        points: how many minutes are kept.
    """

    count: int
    prev_ms: int
    prev_count: int
    data: list[int]
    points: int


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker as its connection shows it.

    Attributes:
        name: the worker's own name; empty when it has none.
        raw_name: the connection's.
        address: from where it came.
        age_s: for how long it has been connected.
        idle_s: for how long it has been silent.
        fields: all that `CLIENT LIST` tells of it.
    """

    name: str
    raw_name: str
    address: str
    age_s: int
    idle_s: int
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class QueueMeta:
    """The queue's settings as every kind of worker sees them.

    Attributes:
        is_paused: nothing is claimed.
        concurrency: most jobs that run at a time; None without a limit.
        max: most jobs that start in `duration_ms`; None without a limit.
        duration_ms: the window of `max`.
        max_events: length at which the event stream is held; None where none was noted yet.
        version: the program that last opened the queue, such as `bullmq:6.7.0`.
        fields: all that is stored, also what is unknown to us.
    """

    is_paused: bool
    concurrency: int | None
    max: int | None
    duration_ms: int | None
    max_events: int | None
    version: str
    fields: dict[str, str]


def get_metrics(
    base: str, state: str = "completed", start: int = 0, end: int = -1
) -> Program[Metrics]:
    """How many jobs ended in each minute; counted where a worker is told to keep metrics.

    Args:
        base: `P:Q:`.
        state: `completed` or `failed`.
        start: the first minute, 0 is the newest.
        end: the last minute, included; -1 is the oldest.

    Raises:
        InvalidOption: no such state.
    """
    if state not in {"completed", "failed"}:
        raise InvalidOption(f"state is {state!r}; expected 'completed' or 'failed'")
    key = f"{base}metrics:{state}"
    fields, data, points = yield from plain(
        ("HMGET", key, "count", "prevTS", "prevCount"),
        ("LRANGE", f"{key}:data", start, end),
        ("LLEN", f"{key}:data"),
    )
    count, prev_ms, prev_count = (stored_number(field) or 0 for field in fields)
    return Metrics(count, prev_ms, prev_count, [stored_number(one) or 0 for one in data], points)


def export_prometheus_metrics(base: str, labels: Mapping[str, str] | None = None) -> Program[str]:
    """The queue's numbers in Prometheus' text format, named as BullMQ names them.

    The totals are counted where a worker is told to keep metrics.

    Args:
        base: `P:Q:`.
        labels: further labels of every line.

    Raises:
        InvalidOption: no name of a label.
    """
    queue = {"queue": base[:-1].rpartition(":")[2]}
    further = {_label(name): text for name, text in (labels or {}).items()}
    counts = yield from call(reading.counts(base))
    totals = yield from plain(*(("HGET", f"{base}metrics:{one}", "count") for one in FINISHED))
    shown = sorted(state for state in counts if counts[state] or state != "paused")
    name = "bullmq_job_count"
    lines = [f"# HELP {name} Number of jobs in the queue by state", f"# TYPE {name} gauge"]
    lines += [_sample(name, queue | {"state": one} | further, counts[one]) for one in shown]
    for state, total in zip(FINISHED, totals, strict=True):
        name = f"bullmq_job_{state}_total"
        lines += [f"# HELP {name} Total number of {state} jobs", f"# TYPE {name} counter"]
        lines += [_sample(name, queue | further, stored_number(total) or 0)]
    return "\n".join(lines)


def get_workers(base: str) -> Program[list[WorkerInfo]]:
    """The queue's workers of every kind, by the names of their connections.

    Raises:
        RedisRefused: the server does not list its clients to us.
    """
    prefix, _, queue = base[:-1].rpartition(":")
    name = client_name(prefix, queue)
    (reply,) = yield from plain(("CLIENT", "LIST"))
    clients = [_client(line) for line in reply.decode(errors="replace").splitlines()]
    return [
        _worker(fields, name)
        for fields in clients
        if fields.get("name", "") == name or fields.get("name", "").startswith(f"{name}:w:")
    ]


def get_meta(base: str) -> Program[QueueMeta]:
    """The queue's settings."""
    (reply,) = yield from plain(("HGETALL", f"{base}meta"))
    stored: dict[str, bytes] = {
        name.decode(errors="replace"): value
        for name, value in zip(reply[::2], reply[1::2], strict=True)
    }
    return QueueMeta(
        is_paused="paused" in stored,
        concurrency=stored_number(stored.get("concurrency")),
        max=stored_number(stored.get("max")),
        duration_ms=stored_number(stored.get("duration")),
        max_events=stored_number(stored.get("opts.maxLenEvents")),
        version=stored.get("version", b"").decode(errors="replace"),
        fields={name: value.decode(errors="replace") for name, value in stored.items()},
    )


def _label(name: str) -> str:
    if not _LABEL.fullmatch(name) or name in {"queue", "state"}:
        raise InvalidOption(f"label is {name!r}; expected a name of Prometheus', such as 'env'")
    return name


def _sample(name: str, labels: Mapping[str, str], value: int) -> str:
    pairs = ", ".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{pairs}}} {value}"


def _escaped(text: str) -> str:
    return str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _client(line: str) -> dict[str, str]:
    pairs = (word.partition("=") for word in line.split(" "))
    return {name: value for name, _, value in pairs}


def _worker(fields: dict[str, str], name: str) -> WorkerInfo:
    raw_name = fields["name"]
    return WorkerInfo(
        name=raw_name.removeprefix(name).removeprefix(":w:"),
        raw_name=raw_name,
        address=fields.get("addr", ""),
        age_s=int(fields.get("age", 0)),
        idle_s=int(fields.get("idle", 0)),
        fields=fields,
    )
