"""Looking at jobs: by state, by priority, their logs; programs.

Jobs are listed by pages, ids first and hashes then, so that a million jobs need no more memory than
one page; what cannot be read is left out, and never stops a listing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from toril.errors import InvalidOption
from toril.runtime.dialog import Program, call, plain, send
from toril.runtime.keys import is_job_id
from toril.runtime.newjob import MAX_PRIORITY
from toril.runtime.numbers import epoch_ms, whole
from toril.runtime.reading import STATES, JobRecord, parse_job, state_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

JOBS_PER_READ = 100
"""Jobs whose hashes are read in one pipeline; chosen: their data may be large."""

MAX_PAGE = 10_000
"""Most jobs held at a time by a walk; chosen."""

_PRIORITY_STEP = 2**32
_SCORE_PER_MS = 4096
_LISTS = {"waiting": "wait", "wait": "wait", "active": "active", "paused": "paused"}


@dataclass(frozen=True, slots=True)
class JobLogs:
    """A page of a job's log.

    Attributes:
        logs: the lines.
        count: how many lines the whole log has.
    """

    logs: list[str]
    count: int


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs of one state.

    Attributes:
        ids: every id that stood there, in order.
        jobs: those of them that could be read.
    """

    ids: list[str]
    jobs: list[JobRecord]


@dataclass(frozen=True, slots=True)
class Walk:
    """How far a walk over many jobs has come.

    Attributes:
        states: the states that are still to be walked, the present one first.
        start: rank of the next job of the present one.
        page: jobs per step.
        ascending: which way.
        seen: ids of the step before: jobs that came in meanwhile push them into the next one.
    """

    states: tuple[str, ...]
    start: int
    page: int
    ascending: bool
    seen: frozenset[str] = frozenset()

    @classmethod
    def over(cls, states: str | Iterable[str], page: int, *, ascending: bool) -> Walk | None:
        """A walk from the start; None over nothing.

        Raises:
            InvalidOption: no such state, or no whole number from 1.
        """
        wanted = tuple(checked_states(states))
        whole("page", page, 1, MAX_PAGE)
        return cls(wanted, 0, page, ascending) if wanted else None


def next_jobs(base: str, walk: Walk) -> Program[tuple[list[JobRecord], Walk | None]]:
    """The next jobs of a walk, and how to go on; None at its end."""
    end = walk.start + walk.page - 1
    page = yield from job_page(base, walk.states[0], walk.start, end, ascending=walk.ascending)
    jobs = [job for job in page.jobs if job.id not in walk.seen]
    if len(page.ids) == walk.page:
        return jobs, replace(walk, start=end + 1, seen=frozenset(page.ids))
    if walk.states[1:]:
        return jobs, Walk(walk.states[1:], 0, walk.page, walk.ascending)
    return jobs, None


def job_page(base: str, state: str, start: int, end: int, *, ascending: bool) -> Program[Page]:
    """The jobs of one state from rank `start` to rank `end`, both included, as LRANGE counts.

    Raises:
        InvalidOption: no such state.
    """
    found = yield from _ids(base, state, start, end, ascending=ascending)
    ids = [one.decode(errors="replace") for one in found]
    jobs: list[JobRecord | None] = []
    for first in range(0, len(ids), JOBS_PER_READ):
        some = range(first, min(first + JOBS_PER_READ, len(ids)))
        replies = yield from send([("HGETALL", base.encode() + found[at]) for at in some])
        jobs += [_readable(ids[at], reply) for at, reply in zip(some, replies, strict=True)]
    return Page(ids, [job for job in jobs if job is not None])


def job_records(
    base: str, states: str | Iterable[str], start: int, end: int, *, ascending: bool
) -> Program[list[JobRecord]]:
    """The jobs of some states, of each from rank `start` to rank `end`."""
    found: list[JobRecord] = []
    for state in checked_states(states):
        page = yield from job_page(base, state, start, end, ascending=ascending)
        found += page.jobs
    return found


def checked_states(states: str | Iterable[str]) -> list[str]:
    """The states, each once.

    Raises:
        InvalidOption: there is no such state.
    """
    wanted = list(dict.fromkeys([states] if isinstance(states, str) else states))
    for state in wanted:
        if state not in {*STATES, "wait"}:
            raise InvalidOption(f"state is {state!r}; expected one of {', '.join(STATES)}")
    return wanted


def get_job_state(base: str, job_id: str) -> Program[str]:
    """Where a job is: one of `counts`' names, `unknown` (in no list), or `gone`."""
    return (yield from call(state_of(base, job_id))).state if is_job_id(job_id) else "gone"


def get_job_logs(
    base: str, job_id: str, start: int = 0, end: int = -1, *, ascending: bool = True
) -> Program[JobLogs]:
    """Log lines of a job from number `start` to `end`, both included; -1 is the last one.

    With `ascending=False` the newest line is number 0.
    """
    if not is_job_id(job_id):
        return JobLogs([], 0)
    key = f"{base}{job_id}:logs"
    first, last = (start, end) if ascending else (-(end + 1), -(start + 1))
    lines, count = yield from plain(("LRANGE", key, first, last), ("LLEN", key))
    texts = [line.decode(errors="replace") for line in lines]
    return JobLogs(texts if ascending else texts[::-1], count)


def logs(
    base: str, job_id: str, start: int = 0, end: int = -1, *, ascending: bool = True
) -> Program[list[str]]:
    """Its log lines from number `start` to `end`, both included, oldest first unless told."""
    return (yield from get_job_logs(base, job_id, start, end, ascending=ascending)).logs


def get_counts_per_priority(base: str, priorities: Iterable[int]) -> Program[dict[int, int]]:
    """How many jobs wait with each of these priorities; 0 is none.

    Raises:
        InvalidOption: no such priority.
    """
    wanted = [whole("priority", one, 0, MAX_PRIORITY) for one in dict.fromkeys(priorities)]
    packets = [_count_of_priority(base, one) for one in wanted]
    replies = (yield from plain(*packets)) if packets else []
    return dict(zip(wanted, replies, strict=True))


def get_delayed_count(base: str, before: int | datetime | None = None) -> Program[int]:
    """How many jobs are delayed, and due before a time if one is given.

    Raises:
        InvalidOption: no time.
    """
    most = "+inf" if before is None else str(epoch_ms("before", before) * _SCORE_PER_MS - 1)
    (reply,) = yield from plain(("ZCOUNT", f"{base}delayed", "-inf", most))
    return int(reply)


def _readable(job_id: str, reply: Any) -> JobRecord | None:
    return None if isinstance(reply, Exception) else parse_job(job_id, reply)


def _ids(base: str, state: str, start: int, end: int, *, ascending: bool) -> Program[list[bytes]]:
    """Ids of one state in order; the next job to run is the first of a list in ascending order."""
    (wanted,) = checked_states(state)
    if wanted in _LISTS:
        first, last = (-(end + 1), -(start + 1)) if ascending else (start, end)
        (reply,) = yield from plain(("LRANGE", f"{base}{_LISTS[wanted]}", first, last))
        ids: list[bytes] = reply[::-1] if ascending else reply
    else:
        command = "ZRANGE" if ascending else "ZREVRANGE"
        (ids,) = yield from plain((command, f"{base}{wanted}", start, end))
    return ids


def _count_of_priority(base: str, priority: int) -> tuple[str | bytes | int, ...]:
    if priority == 0:
        return ("LLEN", f"{base}wait")
    low = priority * _PRIORITY_STEP
    return ("ZCOUNT", f"{base}prioritized", low, low + _PRIORITY_STEP - 1)
