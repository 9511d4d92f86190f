"""Waiting for a job's end: the event stream followed by a pure step function, and its program.

The end is looked up once and then read from the stream, so that a job is found even if it is
removed as it completes. A change must keep: between look-up and stream there is no gap. Both are
read at one moment (`state.lua` returns the stream's last id), and a job that is found gone later
is gone only once the stream has been read up to that moment.
Source: the event stream as observed with bullmq 6.7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from toril.errors import JobFailed, JobGone, RedisUnavailable, WaitTimeout
from toril.runtime.dialog import Pause, Program, Send, call
from toril.runtime.reading import StateSeen, decoded, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ENTRIES_PER_READ = 200
"""Stream entries per reply; chosen: a busy queue's results fit into memory."""

_RECONNECT_S = 0.2


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the event stream."""

    id: str
    fields: dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Completed:
    """The job completed; `returnvalue` is JSON text."""

    returnvalue: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The job failed for good."""

    reason: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The job is not there, and its end cannot be known."""


JobEnd = Completed | Failed | Gone


@dataclass(frozen=True, slots=True)
class Watch:
    """How far a job has been followed.

    Attributes:
        job_id: the job.
        cursor: id of the last stream entry that was read; empty before the first look-up.
        gone_at: last stream entry at the moment when the job was found gone; empty while it is
            there.
    """

    job_id: str
    cursor: str = ""
    gone_at: str = ""


def after_state(watch: Watch, seen: StateSeen) -> Watch | JobEnd:
    """What a look-up tells."""
    match seen.state:
        case "completed":
            return Completed(seen.returnvalue)
        case "failed":
            return Failed(seen.failed_reason)
        case "gone" if not watch.cursor or entry_order(seen.last_event) <= entry_order(
            watch.cursor
        ):
            return Gone()
        case "gone":
            return replace(watch, gone_at=seen.last_event)
    # A stream that went back (Redis came up without its data) is followed from where it is now.
    is_behind = watch.cursor and entry_order(watch.cursor) <= entry_order(seen.last_event)
    cursor = watch.cursor if is_behind else seen.last_event
    return replace(watch, cursor=cursor, gone_at="")


def after_entries(watch: Watch, entries: Sequence[Entry]) -> Watch | JobEnd:
    """What the next entries of the stream tell; none = nothing happened for a while."""
    job_id = watch.job_id.encode()
    for entry in entries:
        if entry.fields.get(b"jobId") == job_id:
            match entry.fields.get(b"event"):
                case b"completed":
                    return Completed(entry.fields.get(b"returnvalue", b"null"))
                case b"failed":
                    return Failed(entry.fields.get(b"failedReason", b"").decode(errors="replace"))
                case b"removed":
                    return Gone()
    if entries:
        watch = replace(watch, cursor=entries[-1].id)
    if watch.gone_at and (not entries or entry_order(watch.gone_at) <= entry_order(watch.cursor)):
        return Gone()
    return watch


def wait(
    base: str, job_id: str, timeout_s: float, clock: Callable[[], float], slice_ms: int
) -> Program[Any]:
    """The job's return value once it has completed.

    Args:
        base: `P:Q:`.
        job_id: the job.
        timeout_s: how long to wait at most.
        clock: seconds, monotonic.
        slice_ms: longest time on the stream alone. After it the state is looked up, because
            obliterate, drain and clean leave no event per job.

    Raises:
        JobFailed: it failed.
        JobGone: it does not exist, or was removed without an end that can be known.
        WaitTimeout: it did not end in time.
        RedisUnavailable: Redis could not be reached until the end of the time.
        RedisRefused: Redis does not let us read.
    """
    deadline = clock() + timeout_s
    step: Watch | JobEnd = Watch(job_id)
    while isinstance(step, Watch):
        try:
            step = yield from _followed(base, step, deadline, clock, slice_ms)
        except RedisUnavailable:
            if clock() >= deadline:
                raise
            yield Pause(min(_RECONNECT_S, max(deadline - clock(), 0)))
        else:
            if isinstance(step, Watch) and clock() >= deadline:
                raise WaitTimeout(job_id, timeout_s)
    return _result(job_id, step)


def _followed(
    base: str, watch: Watch, deadline: float, clock: Callable[[], float], slice_ms: int
) -> Program[Watch | JobEnd]:
    """A look-up, then the stream for one slice, or until the time is up."""
    step = after_state(watch, (yield from call(state_of(base, watch.job_id))))
    until = min(clock() + slice_ms / 1000, deadline)
    while isinstance(step, Watch) and (step.gone_at or clock() < until):
        block_ms = 0 if step.gone_at else max(1, math.ceil((until - clock()) * 1000))
        step = after_entries(step, (yield from read_entries(base, step.cursor, block_ms)))
    return step


def read_entries(base: str, cursor: str, block_ms: int) -> Program[list[Entry]]:
    """Entries of the event stream after `cursor`, waiting `block_ms` for the first; 0 waits not.

    Raises:
        RedisUnavailable: Redis could not be reached.
        RedisRefused: it does not let us read.
    """
    block = ("BLOCK", block_ms) if block_ms else ()
    count = ("COUNT", ENTRIES_PER_READ)
    packet = ("XREAD", *count, *block, "STREAMS", f"{base}events", cursor)
    (reply,) = yield Send((packet,), is_blocking=bool(block))
    if isinstance(reply, Exception):
        raise reply
    return [
        Entry(entry_id.decode(), dict(zip(flat[::2], flat[1::2], strict=True)))
        for _, entries in reply or ()
        for entry_id, flat in entries
    ]


def _result(job_id: str, ending: JobEnd) -> Any:
    match ending:
        case Completed(returnvalue):
            return decoded(returnvalue)
        case Failed(reason):
            raise JobFailed(job_id, reason)
        case Gone():
            raise JobGone(job_id)


def entry_order(entry_id: str) -> tuple[int, int]:
    """An entry's id as something that sorts as the stream does."""
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)
