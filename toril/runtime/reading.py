"""Reading a queue: commands for a job, its state, its log and the counts; pure.

Reading is lenient: what another program left in a field is shown as well as can be, as Node does,
and never stops the reader.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from toril.call import Usage  # noqa: TC001 - the signature of `JobRecord` names it
from toril.runtime.command import REAL_TIME, Command
from toril.runtime.history import Attempt, parse_history, parse_usage
from toril.runtime.numbers import stored_number

STATES = (
    "waiting",
    "active",
    "delayed",
    "prioritized",
    "completed",
    "failed",
    "waiting-children",
    "paused",
)
"""The states in the order of `counts.lua`."""


class JobRecord(msgspec.Struct, frozen=True):
    """A job as it was in Redis at one moment.

    Attributes:
        id: the job's id in its queue.
        name: what it is to do.
        data: as it was added, or last updated.
        opts: the options as they are stored, in BullMQ's names: some are short, as `de` and `kl`.
        timestamp_ms: when it was created.
        delay_ms: the delay it waits for, or waited for last.
        priority: 0 for none; else the lower, the sooner.
        progress: what its processor reported last; 0 at first.
        returnvalue: what its processor returned; None until it completed.
        failed_reason: why its last failed attempt failed.
        stacktrace: one entry for every failed attempt, oldest first.
        attempts_made: attempts that ended.
        attempts_started: attempts that started, by whatever worker.
        stalls: times a worker went away with it.
        crashes: attempts that ended in a crash of the child.
        interruptions: attempts that were given back because the worker stopped.
        processed_on_ms: when its last attempt started.
        finished_on_ms: when it completed or failed for good.
        processed_by: name of the worker of its last attempt.
        verdict: why its last attempt ended, as in `Verdict`; None when no toril worker said.
        detail: what else is known of that end (signal, exit code, limit …).
        usage: what that attempt used.
        history: its last attempts, at most ten, oldest first.
        stack: the Python stack of its child, taken when most of its time was up; None without.
        cancelled_ms: when it was cancelled while it ran; None once it has ended.
        parent_key: full key of its parent; None without.
        deduplication_id: None without.
    """

    id: str
    name: str
    data: Any = None
    opts: dict[str, Any] = msgspec.field(default_factory=dict)
    timestamp_ms: int = 0
    delay_ms: int = 0
    priority: int = 0
    progress: Any = 0
    returnvalue: Any = None
    failed_reason: str | None = None
    stacktrace: tuple[str, ...] = ()
    attempts_made: int = 0
    attempts_started: int = 0
    stalls: int = 0
    crashes: int = 0
    interruptions: int = 0
    processed_on_ms: int | None = None
    finished_on_ms: int | None = None
    processed_by: str | None = None
    verdict: str | None = None
    detail: dict[str, Any] = msgspec.field(default_factory=dict)
    usage: Usage | None = None
    history: tuple[Attempt, ...] = ()
    stack: str | None = None
    cancelled_ms: int | None = None
    parent_key: str | None = None
    deduplication_id: str | None = None


@dataclass(frozen=True, slots=True)
class StateSeen:
    """A job's state at one moment.

    Attributes:
        state: one of `STATES`; `unknown` (there, but in no list) or `gone`.
        last_event: id of the last entry of the event stream at that moment.
        returnvalue: JSON text, empty unless completed.
        failed_reason: empty unless an attempt failed.
    """

    state: str
    last_event: str
    returnvalue: bytes
    failed_reason: str


def state_of(base: str, job_id: str) -> Command[StateSeen]:
    """Where a job is, and how it ended."""
    return Command("state", (base,), (REAL_TIME, job_id), _parse_state)


def counts(base: str) -> Command[dict[str, int]]:
    """How many jobs are in which state."""
    return Command(
        "counts", (base,), (REAL_TIME,), lambda reply: dict(zip(STATES, reply, strict=True))
    )


def get_job(base: str, job_id: str) -> Command[JobRecord | None]:
    """A whole job, or None."""
    args = (REAL_TIME, job_id)
    return Command("get_job", (base,), args, lambda reply: parse_job(job_id, reply))


def parse_job(job_id: str, reply: Any) -> JobRecord | None:
    """A job out of HGETALL's reply; None where there is none."""
    pairs = zip(reply[::2], reply[1::2], strict=True)
    stored = {_text(name): value for name, value in pairs}
    if "name" not in stored and "data" not in stored:
        return None
    return JobRecord(job_id, **_fields(stored))


def decoded(value: bytes | None) -> Any:
    """JSON text as objects; None for nothing, and for what is no JSON, as Node reads it."""
    if not value:
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _parse_state(reply: Any) -> StateSeen:
    state, last_event, returnvalue, failed_reason = reply
    return StateSeen(_text(state), _text(last_event), returnvalue, _text(failed_reason))


def _fields(stored: dict[str, bytes]) -> dict[str, Any]:
    return {
        "name": _text(stored.get("name", b"")),
        "data": decoded(stored.get("data", b"{}")),
        "opts": _mapping(stored.get("opts")),
        "timestamp_ms": stored_number(stored.get("timestamp")) or 0,
        "delay_ms": stored_number(stored.get("delay")) or 0,
        "priority": stored_number(stored.get("priority")) or 0,
        "progress": decoded(stored.get("progress", b"0")),
        "returnvalue": decoded(stored.get("returnvalue")),
        "failed_reason": _optional_text(stored.get("failedReason")),
        "stacktrace": _stacktrace(stored.get("stacktrace")),
        "attempts_made": stored_number(stored.get("attemptsMade", stored.get("atm"))) or 0,
        "attempts_started": stored_number(stored.get("ats")) or 0,
        "stalls": stored_number(stored.get("stc")) or 0,
        "crashes": stored_number(stored.get("t:crashes")) or 0,
        "interruptions": stored_number(stored.get("t:interruptions")) or 0,
        "processed_on_ms": stored_number(stored.get("processedOn")),
        "finished_on_ms": stored_number(stored.get("finishedOn")),
        "processed_by": _optional_text(stored.get("pb")),
        "verdict": _optional_text(stored.get("t:verdict")),
        "detail": _mapping(stored.get("t:detail")),
        "usage": parse_usage(_mapping(stored.get("t:usage"))),
        "history": parse_history(_text(stored.get("t:history", b""))),
        "stack": _optional_text(stored.get("t:stack")),
        "cancelled_ms": stored_number(stored.get("t:cancel")),
        "parent_key": _optional_text(stored.get("parentKey")),
        "deduplication_id": _optional_text(stored.get("deid")),
    }


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _optional_text(value: bytes | None) -> str | None:
    return None if value is None else _text(value)


def _mapping(value: bytes | None) -> dict[str, Any]:
    found = decoded(value)
    return found if isinstance(found, dict) else {}


def _stacktrace(value: bytes | None) -> tuple[str, ...]:
    found = decoded(value)
    return tuple(str(entry) for entry in found) if isinstance(found, list) else ()
