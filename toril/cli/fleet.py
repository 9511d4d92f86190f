"""The supervisors there are, as their heartbeats show them: what `status` and `top` tell.

The types here are the shape of `toril status --json`; docs/schemas/status.json is made of them.
A change must keep: a field stays what it is, new ones are added.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from toril.errors import RedisRefused
from toril.runtime.fleet import fleet, worked_queues
from toril.runtime.keys import key_base
from toril.supervisor.service.record import parse_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from toril.runtime.dialog import Program
    from toril.runtime.fleet import Sighting
    from toril.supervisor.service.record import Record

SILENT_S = 15.0
"""Without a beat for so long something is wrong; chosen: two of them may be lost."""


class RunningJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A job in a child; `ran_s` counts from its claim."""

    id: str
    name: str
    ran_s: float


class QueueStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a supervisor does for one queue; `jobs` are the first of the `running` ones."""

    name: str
    concurrency: int
    running: int
    settled: int
    ends_per_s: float
    unrecorded: int
    children_memory_bytes: int
    slots: dict[str, int]
    jobs: tuple[RunningJob, ...]


class SupervisorStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A supervisor; `seen_s` is the age of its last beat, `id` differs from start to start."""

    id: str
    host: str
    pid: int
    version: str
    state: str
    is_healthy: bool
    complaints: tuple[str, ...]
    up_s: float
    seen_s: float
    memory_bytes: int
    round_trip_ms: float | None
    queues: tuple[QueueStatus, ...]


class FleetStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everybody, by host and process id."""

    supervisors: tuple[SupervisorStatus, ...]

    @property
    def is_healthy(self) -> bool:
        """Is nobody complaining?"""
        return all(one.is_healthy for one in self.supervisors)


def find_queues(prefix: str, named: Sequence[str]) -> Program[list[str]]:
    """The queues to look at: the named ones, else all that a worker is connected for.

    Raises:
        RedisRefused: none is named and the server does not list its clients to us.
    """
    if named:
        return sorted(set(named))
    try:
        return (yield from worked_queues(prefix))
    except RedisRefused as error:
        raise RedisRefused(f"{error}. Or name the queues: --queue NAME") from None


def look(prefix: str, queues: Iterable[str], host: str | None = None) -> Program[FleetStatus]:
    """Read the records of everybody who works these queues.

    Args:
        prefix: of the keys.
        queues: their names.
        host: only those that run there; None for all.
    """
    found: dict[str, list[tuple[Sighting, Record]]] = defaultdict(list)
    for queue in queues:
        for sighting in (yield from fleet(key_base(prefix, queue))):
            record = parse_record(sighting.record)
            if record is not None and host in {None, record.host}:
                found[sighting.nonce].append((sighting, record))
    everybody = (_supervisor(nonce, records) for nonce, records in found.items())
    return FleetStatus(tuple(sorted(everybody, key=lambda one: (one.host, one.pid, one.id))))


def _supervisor(nonce: str, records: list[tuple[Sighting, Record]]) -> SupervisorStatus:
    sighting, newest = max(records, key=lambda pair: pair[0].seen_ms)
    seen_s = max(0.0, (sighting.now_ms - sighting.seen_ms) / 1000)
    complaints = [f"{one.queue}: {text}" for _sighting, one in records for text in one.complaints]
    if seen_s > SILENT_S:
        complaints.insert(0, f"not heard of for {seen_s:.0f} s")
    return SupervisorStatus(
        id=nonce,
        host=newest.host,
        pid=newest.pid,
        version=newest.version,
        state=newest.state,
        is_healthy=not complaints,
        complaints=tuple(complaints),
        up_s=round(newest.up_s + seen_s, 1),
        seen_s=round(seen_s, 1),
        memory_bytes=newest.memory_bytes,
        round_trip_ms=newest.round_trip_ms,
        queues=tuple(_queue(*pair) for pair in sorted(records, key=lambda pair: pair[1].queue)),
    )


def _queue(sighting: Sighting, record: Record) -> QueueStatus:
    return QueueStatus(
        name=record.queue,
        concurrency=record.concurrency,
        running=record.running,
        settled=record.settled,
        ends_per_s=record.ends_per_s,
        unrecorded=record.unrecorded,
        children_memory_bytes=record.children_memory_bytes,
        slots=record.slots,
        jobs=tuple(
            RunningJob(job.id, job.name, max(0.0, (sighting.now_ms - job.since_ms) / 1000))
            for job in record.jobs
        ),
    )
