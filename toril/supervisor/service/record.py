"""What a supervisor says of itself in Redis: the shape of its record, written and read here.

Readers take what they know and leave the rest, so that versions may differ. A change must keep:
a record is some kilobytes at most, whatever jobs are called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from toril import __version__
from toril.supervisor.service.metrics import own_rss_bytes, rss_bytes

if TYPE_CHECKING:
    from toril.supervisor.health import Health
    from toril.supervisor.sight import Sight

MAX_JOBS = 50
"""Running jobs that are told of; chosen: a screen's height."""

MAX_TEXT = 200
"""Longest id or name that is told, characters; chosen."""

WORKING, STARTING, STOPPING, QUIET = "working", "starting", "stopping", "quiet"


@dataclass(frozen=True, slots=True)
class Own:
    """Who the supervisor is, for its records.

    Attributes:
        host: where it runs.
        pid: its process.
        nonce: tells it from any other.
        state: `starting`, `working` or `stopping`.
        up_s: for how long it has been running.
        queues: their names.
        round_trip_s: of the last beat; None before.
    """

    host: str
    pid: int
    nonce: str
    state: str
    up_s: float
    queues: tuple[str, ...]
    round_trip_s: float | None


class JobEntry(msgspec.Struct, frozen=True):
    """A running job; `since_ms` is the server's clock."""

    id: str
    name: str
    since_ms: int


class Record(msgspec.Struct, frozen=True):
    """One supervisor, and one of its queues.

    Attributes:
        host: where it runs.
        pid: its process.
        nonce: tells it from another process of the same number.
        version: of toril.
        state: `starting`, `working`, `quiet` or `stopping`.
        up_s: for how long it has been running.
        queues: all its queues.
        queue: the one that this record is about.
        concurrency: children that are wanted.
        slots: children by what they do.
        jobs: some of those that run.
        running: how many run.
        settled: attempts whose end Redis has.
        ends_per_s: of them, per second since the beat before.
        unrecorded: attempts that ended and that Redis has not confirmed.
        memory_bytes: of the supervisor.
        children_memory_bytes: of the queue's children together; pages that they share count often.
        round_trip_ms: of the last beat; None before.
        complaints: what is wrong.
    """

    host: str
    pid: int
    nonce: str
    version: str = ""
    state: str = WORKING
    up_s: float = 0
    queues: tuple[str, ...] = ()
    queue: str = ""
    concurrency: int = 0
    slots: dict[str, int] = msgspec.field(default_factory=dict)
    jobs: tuple[JobEntry, ...] = ()
    running: int = 0
    settled: int = 0
    ends_per_s: float = 0
    unrecorded: int = 0
    memory_bytes: int = 0
    children_memory_bytes: int = 0
    round_trip_ms: float | None = None
    complaints: tuple[str, ...] = ()


def record_of(own: Own, sight: Sight, health: Health, ends_per_s: float) -> bytes:
    """The record of one queue, JSON text."""
    round_trip_s = own.round_trip_s
    jobs = sight.jobs[:MAX_JOBS]
    record = Record(
        host=own.host,
        pid=own.pid,
        nonce=own.nonce,
        version=__version__,
        state=QUIET if health.is_quiet and own.state == WORKING else own.state,
        up_s=round(own.up_s, 1),
        queues=own.queues,
        queue=sight.queue,
        concurrency=sight.concurrency,
        slots=dict(sight.slots),
        jobs=tuple(JobEntry(_cut(job.id), _cut(job.name), job.since_ms) for job in jobs),
        running=len(sight.jobs),
        settled=sight.settled,
        ends_per_s=round(ends_per_s, 1),
        unrecorded=sight.unrecorded,
        memory_bytes=own_rss_bytes(),
        children_memory_bytes=sum(map(rss_bytes, sight.pids)),
        round_trip_ms=None if round_trip_s is None else round(round_trip_s * 1000, 2),
        complaints=tuple(complaint.text for complaint in health.complaints),
    )
    return msgspec.json.encode(record)


def parse_record(raw: bytes) -> Record | None:
    """A record that was read; None for what is none."""
    try:
        return msgspec.json.decode(raw, type=Record)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _cut(text: str) -> str:
    """What other programs left in Redis, as text that always encodes, and short."""
    short = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    return short.encode(errors="replace").decode()
