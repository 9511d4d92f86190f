"""What one worker does at a moment, as a value: for metrics, heartbeats and whoever looks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toril.runtime.lock import RENEWALS_PER_LOCK
from toril.sandbox.states import State
from toril.supervisor.health import Vitals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from toril.runtime.lock import LockKeeper
    from toril.runtime.store import Store
    from toril.supervisor.attempts import Attempts
    from toril.supervisor.intake import Intake
    from toril.supervisor.settings import QueueSettings
    from toril.supervisor.settlements import Settlements

SLOT_OF = {
    State.REQUESTED: "starting",
    State.CONFINING: "starting",
    State.IDLE: "idle",
    State.RUNNING: "busy",
    State.INTERRUPTING: "busy",
    State.RETIRING: "leaving",
    State.KILLING: "leaving",
    State.DEAD: "leaving",
    State.REAPED: "leaving",
}
"""A child's state → what its slot does, in the words of an operator."""

SLOTS = ("busy", "idle", "starting", "leaving", "missing")


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job in a child.

    Attributes:
        id: as it is in Redis.
        name: the same.
        since_ms: when this attempt was claimed, by the server's clock.
    """

    id: str
    name: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class Sight:
    """One worker.

    Attributes:
        queue: its name.
        concurrency: children that are wanted.
        slots: children by what they do, of `SLOTS`.
        jobs: what runs.
        pids: the children's.
        settled: attempts whose end Redis has.
        unrecorded: attempts that ended and that Redis has not confirmed.
        held: jobs whose locks are renewed.
        lock_margin_s: least time that a held lock has left.
        ends: how children ended, and how many.
        names: job names that the processor has functions for.
    """

    queue: str
    concurrency: int
    slots: Mapping[str, int]
    jobs: tuple[RunningJob, ...]
    pids: tuple[int, ...]
    settled: int
    unrecorded: int
    held: int
    lock_margin_s: float
    ends: Mapping[str, int]
    names: frozenset[str]


def slots_of(children: Iterable[tuple[int, State]], concurrency: int) -> dict[str, int]:
    """How many children do what; `missing` is who should be there and is not.

    Args:
        children: each one's place and state; a place may have two while one replaces the other.
        concurrency: places there are.
    """
    found = dict.fromkeys(SLOTS, 0)
    places = set()
    for place, state in children:
        found[SLOT_OF[state]] += 1
        places.add(place)
    found["missing"] = max(0, concurrency - len(places))
    return found


def sight_of(
    queue: QueueSettings, attempts: Attempts, settlements: Settlements, keeper: LockKeeper
) -> Sight:
    """What a worker with these parts does now."""
    children = attempts.pool.children
    return Sight(
        queue=queue.name,
        concurrency=attempts.size,
        slots=slots_of([(c.slot, c.state) for c in children], attempts.size),
        jobs=tuple(RunningJob(c.id, c.name, c.processed_on_ms) for c in attempts.claims),
        pids=tuple(child.pid for child in children if child.pid is not None),
        settled=settlements.recorded,
        unrecorded=settlements.unrecorded,
        held=len(keeper.held),
        lock_margin_s=keeper.margin_s,
        ends=attempts.pool.ends,
        names=attempts.pool.names,
    )


def vitals_of(
    queue: QueueSettings, store: Store, intake: Intake, attempts: Attempts, turned_s: float
) -> Vitals:
    """What a worker with these parts knows of its own health."""
    return Vitals(
        now_s=asyncio.get_running_loop().time(),
        turned_s=turned_s,
        answered_s=store.answered_s,
        claimed_s=intake.answered_s,
        could_claim_s=intake.open_since_s,
        unavailable_s=attempts.unavailable_since_s,
        poll_s=queue.poll_ms / 1000,
        quiet_s=max(queue.poll_ms, queue.lock_ms / RENEWALS_PER_LOCK) / 1000,
    )
