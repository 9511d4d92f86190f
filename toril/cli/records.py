"""What `--json` writes: one type a command, from which docs/schemas/commands.json is made.

A change must keep: keys are added, never renamed or taken away.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something written as one JSON object."""


class JobListed(Record, frozen=True):
    """A line of `toril jobs list`; times are epoch milliseconds."""

    id: str
    name: str
    state: str
    timestamp_ms: int
    delay_ms: int
    priority: int
    attempts_made: int
    attempts_started: int
    crashes: int
    stalls: int
    interruptions: int
    verdict: str | None
    failed_reason: str | None
    processed_on_ms: int | None
    finished_on_ms: int | None
    processed_by: str | None


class JobShown(JobListed, frozen=True):
    """`toril jobs show`."""

    data: Any
    opts: dict[str, Any]
    progress: Any
    returnvalue: Any
    stacktrace: list[str]
    detail: dict[str, Any]
    usage: dict[str, Any] | None
    history: list[dict[str, Any]]
    stack: str | None
    cancelled_ms: int | None
    parent_key: str | None
    deduplication_id: str | None


class LogLine(Record, frozen=True):
    """A line of `toril jobs logs`; the first has number 0."""

    number: int
    line: str


class StackShown(Record, frozen=True):
    """`toril jobs stack`."""

    id: str
    stack: str


class JobDone(Record, frozen=True):
    """A line of `toril jobs retry|promote|remove|cancel`; `reason` says more."""

    id: str
    result: Literal[
        "retried", "promoted", "removed", "cancelled", "asked", "finished", "refused", "gone"
    ]
    reason: str | None


class Planned(Record, frozen=True):
    """What `--dry-run` tells."""

    action: str
    queue: str
    count: int
    sample: list[JobListed]


class QueueListed(Record, frozen=True):
    """A line of `toril queue list`; None where the server does not tell."""

    queue: str
    counts: dict[str, int]
    is_paused: bool
    oldest_waiting_ms: int | None
    workers: int | None
    version: str


class QueuePaused(Record, frozen=True):
    """`toril queue pause|resume`."""

    queue: str
    is_paused: bool


class QueueDrained(Record, frozen=True):
    """`toril queue drain`; what came in meanwhile is counted as left."""

    queue: str
    removed: int
    left: int


class Bucket(Record, frozen=True):
    """toril's rate limit of a queue."""

    tokens: int
    per_ms: int
    burst: int


class Window(Record, frozen=True):
    """BullMQ's rate limit of a queue."""

    max: int
    duration_ms: int


class QueueLimits(Record, frozen=True):
    """`toril queue limits`; None: no such limit."""

    queue: str
    rate_limit: Bucket | None
    global_rate_limit: Window | None
    global_concurrency: int | None


class Finding(Record, frozen=True):
    """A line of `toril check`."""

    group: Literal["configuration", "imports", "server"]
    check: str
    status: Literal["ok", "warning", "error", "unknown"]
    found: str
    remedy: str


class JobAdded(Record, frozen=True):
    """`toril add`."""

    id: str


class Setting(Record, frozen=True):
    """A value of `toril config show`."""

    value: Any
    origin: str


class Examined(Record, frozen=True):
    """`toril doctor`."""

    levels: dict[str, bool]
    mechanisms: list[dict[str, Any]]


OUTPUTS: dict[str, Any] = {
    "add": JobAdded,
    "check": Finding,
    "config show": dict[str, Setting],
    "demo": list[dict[str, Any]],
    "doctor": Examined,
    "jobs list": JobListed,
    "jobs show": JobShown,
    "jobs logs": LogLine,
    "jobs stack": StackShown,
    "jobs retry": JobDone,
    "jobs promote": JobDone,
    "jobs remove": JobDone,
    "jobs cancel": JobDone,
    "jobs --dry-run": Planned,
    "queue list": QueueListed,
    "queue pause": QueuePaused,
    "queue resume": QueuePaused,
    "queue drain": QueueDrained,
    "queue drain --dry-run": Planned,
    "queue limits": QueueLimits,
}
"""Command → the type of its output, or of each line of it."""


def schema() -> dict[str, Any]:
    """A JSON Schema with the output of each command, by its words, in `commands`."""
    shapes, parts = msgspec.json.schema_components(
        tuple(OUTPUTS.values()), ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "commands": dict(zip(OUTPUTS, shapes, strict=True)),
        "$defs": parts,
    }
