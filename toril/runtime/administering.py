"""What can be done to a queue as a whole: commands, and programs that are methods of `Queue`.

Operations on many jobs take some per call and go on until all are done, so that Redis serves
others in between. A change must keep: such a loop ends, however fast jobs are added meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from toril.errors import InvalidOption, QueueActive
from toril.runtime.changing import check_finished
from toril.runtime.command import REAL_TIME, Command
from toril.runtime.dialog import Program, call, plain
from toril.runtime.numbers import epoch_ms, stored_number, whole
from toril.runtime.once import UNNAMED, Request, once
from toril.units import duration_ms

if TYPE_CHECKING:
    from datetime import datetime, timedelta

JOBS_PER_CALL = 1000
"""Jobs that one script moves or removes; given by the scripts, chosen there: Redis serves others
in between, every few dozen milliseconds."""

_CLEANED = {
    "wait": "wait",
    "waiting": "wait",
    **{name: name for name in ("active", "paused", "delayed", "prioritized")},
    **{name: name for name in ("completed", "failed", "waiting-children")},
}


@dataclass(frozen=True, slots=True)
class Cleaning:
    """How far a cleaning has come.

    Attributes:
        name: the list or set that is cleaned.
        grace_ms: younger jobs stay.
        limit: most jobs to remove; 0 removes all.
        latest_ms: the time at which jobs are old enough; None before the first call.
        cursor: jobs that were looked at and left.
        removed: jobs that were removed.
    """

    name: str
    grace_ms: int
    limit: int = 0
    latest_ms: int | None = None
    cursor: int = 0
    removed: int = 0


@dataclass(frozen=True, slots=True)
class Retrying:
    """Which finished jobs are to run again.

    Attributes:
        state: `failed` or `completed`.
        count: how many at a time.
        latest_ms: those that finished until then; None for now.
    """

    state: str
    count: int
    latest_ms: int | None = None


def pause_queue(base: str, request: Request = UNNAMED) -> Command[str]:
    """Let nothing be claimed."""
    return Command("pause", (base,), (REAL_TIME, *request), _word)


def resume_queue(base: str, request: Request = UNNAMED) -> Command[str]:
    """Let jobs be claimed again; `more` while old waiting jobs are still being merged."""
    return Command("resume", (base,), (REAL_TIME, *request), _word)


def drain_queue(base: str, *, delayed: bool) -> Command[tuple[str, int]]:
    """Remove some of the jobs that wait; the word, and how many stood there."""
    args = (REAL_TIME, "delayed" if delayed else "")
    return Command("drain", (base,), args, lambda reply: (_word(reply[0]), reply[1]))


def clean_queue(
    base: str, step: Cleaning, request: Request = UNNAMED, *, now_ms: int | str = REAL_TIME
) -> Command[tuple[list[str], Cleaning | None]]:
    """Remove some of the old jobs of one list or set; their ids, and how to go on if it has to."""

    def parse(reply: Any) -> tuple[list[str], Cleaning | None]:
        word, latest_ms, cursor, raw_ids = reply
        ids = [one.decode(errors="replace") for one in raw_ids]
        if word == b"done":
            return ids, None
        removed = step.removed + len(ids)
        return ids, replace(step, latest_ms=int(latest_ms), cursor=int(cursor), removed=removed)

    latest_ms = "" if step.latest_ms is None else step.latest_ms
    rule = (step.name, latest_ms, step.grace_ms, step.limit or "", step.removed, step.cursor)
    return Command("clean", (base,), (now_ms, *request, *rule), parse)


def obliterate_queue(base: str, *, is_first: bool, force: bool) -> Command[str]:
    """Destroy some of the queue."""
    args = (REAL_TIME, "start" if is_first else "", "force" if force else "")
    return Command("obliterate", (base,), args, _word)


def promote_some(base: str, count: int, request: Request = UNNAMED) -> Command[list[int]]:
    """Make some delayed jobs runnable; how many, and how many are left."""
    return Command("promote_jobs", (base,), (REAL_TIME, *request, count), list)


def retry_some(
    base: str, step: Retrying, request: Request = UNNAMED, *, now_ms: int | str = REAL_TIME
) -> Command[tuple[int, Retrying | None]]:
    """Make some finished jobs runnable; how many, and how to go on if some are left."""

    def parse(reply: Any) -> tuple[int, Retrying | None]:
        count, left, latest_ms = reply
        return count, replace(step, latest_ms=int(latest_ms)) if left > 0 else None

    latest_ms = "" if step.latest_ms is None else step.latest_ms
    args = (now_ms, *request, step.state, step.count, latest_ms)
    return Command("retry_jobs", (base,), args, parse)


def pause(base: str) -> Program[None]:
    """Pause the queue: no worker claims from it, what runs runs on."""
    yield from once(partial(pause_queue, base))


def resume(base: str) -> Program[None]:
    """Resume the queue, also with what BullMQ 5 has set aside while it was paused."""
    while (yield from once(partial(resume_queue, base))) == "more":
        pass


def is_paused(base: str) -> Program[bool]:
    """Is the queue paused?"""
    (reply,) = yield from plain(("HEXISTS", f"{base}meta", "paused"))
    return bool(reply)


def is_maxed(base: str) -> Program[bool]:
    """Do as many jobs run as the global concurrency allows?"""
    concurrency, active = yield from plain(
        ("HGET", f"{base}meta", "concurrency"), ("LLEN", f"{base}active")
    )
    most = stored_number(concurrency)
    return most is not None and active >= most


def drain(base: str, *, delayed: bool = False) -> Program[None]:
    """Remove the jobs that wait to run, and with `delayed` those that are delayed.

    What runs and what has finished stays, and so does the next job of each schedule.
    """
    word, stood = yield from call(drain_queue(base, delayed=delayed))
    for _ in range(stood // JOBS_PER_CALL + 1):
        if word == "done":
            break
        word, _stood = yield from call(drain_queue(base, delayed=delayed))


def clean(
    base: str, grace: str | timedelta, limit: int = 0, state: str = "completed"
) -> Program[list[str]]:
    """Remove the jobs of one state that are older than `grace`; their ids.

    Args:
        base: `P:Q:`.
        grace: `"0s"` removes whatever its age.
        limit: most jobs to remove, the oldest first; 0 removes all.
        state: `completed`, `failed`, `waiting`, `delayed`, `prioritized`, `paused`,
            `waiting-children`, or `active` (those whose worker has gone).

    Raises:
        InvalidOption: no duration, number or state.
    """
    grace_ms, name = duration_ms(grace, "grace"), _CLEANED.get(state)
    if name is None:
        raise InvalidOption(f"state is {state!r}; expected one of {', '.join(_CLEANED)}")
    step: Cleaning | None = Cleaning(name, grace_ms, whole("limit", limit, 0))
    removed: list[str] = []
    while step is not None:
        ids, step = yield from once(partial(clean_queue, base, step))
        removed += ids
    return removed


def obliterate(base: str, *, force: bool = False) -> Program[None]:
    """Destroy the queue and all its jobs; it is paused meanwhile.

    Args:
        base: `P:Q:`.
        force: also while jobs run; their workers lose them.

    Raises:
        QueueActive: jobs run and it was not forced, or somebody resumed the queue meanwhile.
    """
    word = yield from call(obliterate_queue(base, is_first=True, force=force))
    while word == "more":
        word = yield from call(obliterate_queue(base, is_first=False, force=force))
    if word == "active":
        raise QueueActive(base[:-1], "jobs are being processed; wait for them, or force it")
    if word == "resumed":
        raise QueueActive(base[:-1], "somebody resumed it meanwhile; part of it is gone")


def promote_jobs(base: str, *, count: int = JOBS_PER_CALL) -> Program[int]:
    """Make all delayed jobs runnable now; how many.

    As in BullMQ they run without their priorities: promote them one by one to keep them.

    Args:
        base: `P:Q:`.
        count: how many at a time.

    Raises:
        InvalidOption: no such number.
    """
    whole("count", count, 1, JOBS_PER_CALL)
    promoted, left = yield from once(partial(promote_some, base, count))
    for _ in range(-(-left // count)):
        some, _left = yield from once(partial(promote_some, base, count))
        promoted += some
    return promoted


def retry_jobs(
    base: str,
    *,
    state: str = "failed",
    count: int = JOBS_PER_CALL,
    timestamp: int | datetime | None = None,
) -> Program[int]:
    """Have all finished jobs of one state run again; how many.

    As in BullMQ they run without their priorities: retry them one by one to keep them.

    Args:
        base: `P:Q:`.
        state: `failed` or `completed`.
        count: how many at a time.
        timestamp: only those that finished until then, epoch milliseconds or a datetime with a
            time zone; now, unless given.

    Raises:
        InvalidOption: no such state, number or time.
    """
    check_finished(state)
    whole("count", count, 1, JOBS_PER_CALL)
    latest_ms = None if timestamp is None else epoch_ms("timestamp", timestamp)
    step: Retrying | None = Retrying(state, count, latest_ms)
    retried = 0
    while step is not None:
        some, step = yield from once(partial(retry_some, base, step))
        retried += some
    return retried


def trim_events(base: str, max_length: int) -> Program[int]:
    """Forget all but about the newest `max_length` events; how many.

    Raises:
        InvalidOption: no whole number from 0.
    """
    whole("max_length", max_length, 0)
    (reply,) = yield from plain(("XTRIM", f"{base}events", "MAXLEN", "~", max_length))
    return int(reply)


def _word(reply: bytes) -> str:
    return reply.decode()
