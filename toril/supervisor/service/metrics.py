"""What a supervisor counts of its own events, and the text that a scraper reads.

Counted is what the log is told, at the cost of a few dictionary additions; everything else is asked
when somebody scrapes. A change must keep: no label holds an id, and a job's name only if the
queue's processor has a function for it: others' job names must not become time series.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toril import __version__
from toril import events as ev
from toril.sandbox import proc
from toril.supervisor.service.exposition import Family, Histogram, written

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from toril.runtime.depth import Depth
    from toril.supervisor.health import Health
    from toril.supervisor.service.exposition import Key
    from toril.supervisor.sight import Sight

WAIT_BOUNDS_S = (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200, 43200)
RUN_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800)
MEMORY_BOUNDS = tuple(mib * 2.0**20 for mib in (16, 32, 64, 128, 256, 512, 1024, 2048, 4096))
"""Bounds of the histograms, seconds and bytes; chosen: from an echo to a night's batch."""

_PER_JOB = ("queue", "name")

FOLLOWED = {
    "completed": "completed",
    "failed": "failed",
    "retried": "retried",
    "given": "given-back",
    "delayed": "delayed",
    "waits": "waiting-children",
}
"""First word of what followed an attempt, as the log says it → the label: those hold durations."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """What is asked at the moment of a scrape.

    Attributes:
        sights: every worker's own view.
        health: queue → what is wrong.
        depths: queue → what Redis says of it; a queue of which it said nothing is not in it.
        loop_lag_s: by how much the loop was late lately, at worst.
        round_trip_s: the last beat's, or None.
    """

    sights: Sequence[Sight]
    health: Mapping[str, Health]
    depths: Mapping[str, Depth]
    loop_lag_s: float
    round_trip_s: float | None


@dataclass(slots=True)
class Metrics:
    """Counters of one supervisor; call `hear` with every event.

    Attributes:
        names: queue → job names that its processor has functions for.
    """

    names: Mapping[str, Collection[str]] = field(default_factory=dict)
    completed: Family = field(init=False)
    failed: Family = field(init=False)
    attempts: Family = field(init=False)
    locks_lost: Family = field(init=False)
    stalled: Family = field(init=False)
    outages: Family = field(init=False)
    refused: Family = field(init=False)
    wait: Histogram = field(init=False)
    run: Histogram = field(init=False)
    cpu: Histogram = field(init=False)
    memory: Histogram = field(init=False)

    def __post_init__(self) -> None:
        """Make the families, empty."""
        of_queue = ("queue",)
        self.completed = _counter(
            "bullmq_job_completed_total", "Jobs this supervisor completed.", of_queue
        )
        self.failed = _counter(
            "bullmq_job_failed_total", "Jobs this supervisor failed for good.", of_queue
        )
        self.attempts = _counter(
            "toril_attempts_total",
            "Attempts that ended: why (verdict) and what followed (settled).",
            (*_PER_JOB, "verdict", "settled"),
        )
        self.locks_lost = _counter(
            "toril_locks_lost_total", "Jobs that went to another worker while they ran.", of_queue
        )
        self.stalled = _counter(
            "toril_stalled_recovered_total", "Jobs of vanished workers put back.", of_queue
        )
        self.outages = _counter(
            "toril_redis_outages_total", "Times Redis was lost to the worker.", of_queue
        )
        self.refused = _counter(
            "toril_settlements_refused_total", "Ends of attempts Redis did not take.", of_queue
        )
        self.wait = Histogram(
            "toril_job_wait_seconds", "From a job's creation to its first start.", of_queue,
            WAIT_BOUNDS_S,
        )  # fmt: skip
        self.run = Histogram(
            "toril_job_run_seconds", "Wall time of an attempt.", _PER_JOB, RUN_BOUNDS_S
        )
        self.cpu = Histogram(
            "toril_job_cpu_seconds", "CPU time of an attempt.", _PER_JOB, RUN_BOUNDS_S
        )
        self.memory = Histogram(
            "toril_job_memory_bytes",
            "Largest resident size in an attempt, as the child reports it.",
            _PER_JOB,
            MEMORY_BOUNDS,
        )

    def hear(self, event: ev.Event) -> None:
        """Count one event; most are not counted."""
        note = _HEARD.get(type(event))
        if note is not None:
            note(self, event)

    def text(self, scrape: Scrape) -> Iterator[str]:
        """Everything, in Prometheus' text format; a piece is some milliseconds' work at most."""
        self._begin_at_zero(scrape.sights)
        counted = (
            self.completed,
            self.failed,
            self.attempts,
            self.wait,
            self.run,
            self.cpu,
            self.memory,
            self.locks_lost,
            self.stalled,
            self.outages,
            self.refused,
        )
        return written([*_of_redis(scrape.depths), *counted, *_of_now(scrape), *_of_process()])

    def _begin_at_zero(self, sights: Sequence[Sight]) -> None:
        """A series that begins at its first event hides that event from `rate()`."""
        families = (self.completed, self.failed, self.locks_lost, self.stalled, self.outages)
        for sight in sights:
            for family in (*families, self.refused):
                family.values.setdefault((sight.queue,), 0)

    def _settled(self, event: ev.JobSettled) -> None:
        queue = event.queue
        name = event.name if event.name in self.names.get(queue, ()) else ""
        followed = FOLLOWED.get(event.settled.partition(" ")[0], "other")
        self.attempts.add(queue, name, event.verdict, followed)
        if event.settled == "completed":
            self.completed.add(queue)
        elif event.settled == "failed":
            self.failed.add(queue)
        if event.wait_ms is not None:
            self.wait.observe(event.wait_ms / 1000, queue)
        self.run.observe(event.run_ms / 1000, queue, name)
        if event.cpu_ms is not None:
            self.cpu.observe(event.cpu_ms / 1000, queue, name)
        if event.peak_memory_bytes is not None:
            self.memory.observe(event.peak_memory_bytes, queue, name)

    def _lost(self, event: ev.LockLost) -> None:
        self.locks_lost.add(event.queue)

    def _recovered(self, event: ev.StalledRecovered) -> None:
        self.stalled.add(event.queue, amount=len(event.job_ids))

    def _redis_lost(self, event: ev.RedisLost) -> None:
        self.outages.add(event.queue)

    def _refused(self, event: ev.SettlementRefused) -> None:
        self.refused.add(event.queue)


_HEARD: dict[type, Callable[[Metrics, Any], None]] = {
    ev.JobSettled: Metrics._settled,  # noqa: SLF001 - its own table
    ev.LockLost: Metrics._lost,  # noqa: SLF001
    ev.StalledRecovered: Metrics._recovered,  # noqa: SLF001
    ev.RedisLost: Metrics._redis_lost,  # noqa: SLF001
    ev.SettlementRefused: Metrics._refused,  # noqa: SLF001
}


def _counter(name: str, help: str, labels: tuple[str, ...]) -> Family:  # noqa: A002 - its word
    return Family(name, "counter", help, labels)


def _gauge(
    name: str,
    help: str,  # noqa: A002 - the format's word
    values: Mapping[Key, float],
    *labels: str,
) -> Family:
    return Family(name, "gauge", help, labels, dict(values))


def _of_redis(depths: Mapping[str, Depth]) -> list[Family]:
    by_state: dict[Key, float] = {
        (queue, state): count
        for queue, depth in depths.items()
        for state, count in depth.counts.items()
    }
    oldest: dict[Key, float] = {(queue,): depth.oldest_waiting_s for queue, depth in depths.items()}
    return [
        _gauge("bullmq_job_count", "Jobs in the queue by state.", by_state, "queue", "state"),
        _gauge(
            "toril_queue_oldest_waiting_seconds",
            "For how long the oldest job could have run and did not.",
            oldest,
            "queue",
        ),
    ]


def _of_now(scrape: Scrape) -> list[Family]:
    sights, health = scrape.sights, scrape.health.items()
    slots: dict[Key, float] = {(s.queue, slot): n for s in sights for slot, n in s.slots.items()}
    ends: dict[Key, float] = {(s.queue, end): n for s in sights for end, n in s.ends.items()}
    round_trip_s = scrape.round_trip_s
    round_trip: dict[Key, float] = {} if round_trip_s is None else {(): round_trip_s}
    restarts = _counter("toril_child_restarts_total", _RESTARTS, ("queue", "verdict"))
    restarts.values = ends
    return [
        _gauge("toril_slots", "Children by what they do.", slots, "queue", "state"),
        restarts,
        *(
            _per_queue(name, text, {s.queue: value(s) for s in sights})
            for name, text, value in _OF_SIGHT
        ),
        *(
            _per_queue(name, text, {queue: value(one) for queue, one in health})
            for name, text, value in _OF_HEALTH
        ),
        _gauge("toril_loop_lag_seconds", _LAG, {(): scrape.loop_lag_s}),
        _gauge("toril_redis_round_trip_seconds", _ROUND_TRIP, round_trip),
    ]


_RESTARTS = "Children that ended, by why; another takes the place of each."
_LAG = "By how much the event loop was late in the last half minute, at worst."
_ROUND_TRIP = "From the last heartbeat to Redis' answer."

_OF_SIGHT: tuple[tuple[str, str, Callable[[Sight], float]], ...] = (
    (
        "toril_lock_margin_seconds",
        "Least time that a held lock had left, at the last renewal or now.",
        lambda sight: sight.lock_margin_s,
    ),
    ("toril_jobs_held", "Jobs whose locks are renewed.", lambda sight: sight.held),
    (
        "toril_unrecorded_results",
        "Attempts that ended and that Redis has not confirmed yet.",
        lambda sight: sight.unrecorded,
    ),
)

_OF_HEALTH: tuple[tuple[str, str, Callable[[Health], float]], ...] = (
    (
        "toril_healthy",
        "1: the queue is consumed, or could be.",
        lambda health: health.is_healthy,
    ),
    (
        "toril_listener_events_dropped",
        "Events that listeners did not get so far.",
        lambda health: health.dropped_events,
    ),
)


def _per_queue(name: str, help: str, values: Mapping[str, float]) -> Family:  # noqa: A002 - its word
    return _gauge(name, help, {(queue,): float(v) for queue, v in values.items()}, "queue")


def _of_process() -> list[Family]:
    """What every exporter tells of its process, by the names that dashboards know."""
    return [
        _gauge("toril_build_info", "1, with the version.", {(__version__,): 1}, "version"),
        Family(
            "process_cpu_seconds_total",
            "counter",
            "CPU time of the supervisor, without its children.",
            (),
            {(): time.process_time()},
        ),
        _gauge(
            "process_resident_memory_bytes",
            "Resident size of the supervisor, without its children.",
            {(): own_rss_bytes()},
        ),
    ]


def own_rss_bytes() -> int:
    """Resident size of this process."""
    return rss_bytes(os.getpid())


def rss_bytes(pid: int) -> int:
    """Resident size of a process; 0 when it is gone."""
    sizes_fd = proc.open_sizes(pid)
    if sizes_fd is None:
        return 0
    try:
        return proc.rss_bytes(sizes_fd) or 0
    finally:
        os.close(sizes_fd)
