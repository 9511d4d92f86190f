"""Events of a supervisor's own life: signals, reloads, states, probes; more in `events.py`."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


class Told(msgspec.Struct, frozen=True, gc=False):
    """What a supervisor tells of itself.

    A struct, because two are made for every job: a frozen dataclass takes eight times as long.
    """


class Quiet(Told, frozen=True):
    """Nothing more is claimed until further notice; running jobs go on."""

    queue: str
    running: int


class Resumed(Told, frozen=True):
    """Jobs are claimed again."""

    queue: str


class Scaled(Told, frozen=True):
    """A queue has more children now, or fewer, by what waits for them."""

    queue: str
    before: int
    after: int
    backlog: int


class Reloading(Told, frozen=True):
    """Configuration and code are read anew; the old goes on meanwhile."""


class Reloaded(Told, frozen=True):
    """New jobs run by the new code and settings; old children end with their jobs.

    Attributes:
        applied: settings that changed.
        waiting: settings that differ and need a restart.
    """

    applied: tuple[str, ...]
    waiting: tuple[str, ...]


class ReloadFailed(Told, frozen=True):
    """The new configuration or code cannot be used; the old goes on, nothing was changed."""

    reason: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class ChildState:
    """One child, in a dump.

    Attributes:
        slot: its place in the pool.
        pid: None before it was forked.
        state: where it is in its life.
        job_id: what it runs; empty: nothing.
        since_ms: how long it has run that; None: nothing.
        jobs_run: jobs it was given.
    """

    slot: int
    pid: int | None
    state: str
    job_id: str
    since_ms: int | None
    jobs_run: int


class StateDumped(Told, frozen=True):
    """Where a queue's worker stands, because somebody asked.

    Attributes:
        stage: working, quiet, draining or interrupted.
        zygotes: pids of those that fork for it, the one that starts included.
        held: locks it keeps.
        margin_ms: until the first of them would run out without a renewal; None: it holds none.
        unrecorded: attempts that ended and that Redis does not have yet.
        limits: what one attempt may use.
        complaints: why it is not well; empty: it is.
    """

    queue: str
    stage: str
    concurrency: int
    children: tuple[ChildState, ...]
    zygotes: tuple[int, ...]
    held: int
    margin_ms: int | None
    unrecorded: int
    limits: str
    complaints: tuple[str, ...]


class StackDumped(Told, frozen=True):
    """A stack, because somebody asked: of a running job, or of the supervisor (no `queue`)."""

    queue: str
    job_id: str
    pid: int
    stack: str


class HealthListening(Told, frozen=True):
    """Health and metrics can be asked for there."""

    address: str


class HealthExposed(Told, frozen=True):
    """Other hosts can ask for health and metrics, without a password."""

    address: str


class RedisSlow(Told, frozen=True):
    """Redis took too long several times in a row; said once for as long as it lasts."""

    round_trip_ms: int
    times: int
    bound_ms: int


class HeartbeatRefused(Told, frozen=True):
    """Redis does not take this supervisor's record, so that others do not see it; jobs go on."""

    reason: str
