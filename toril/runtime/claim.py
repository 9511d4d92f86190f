"""What the runtime and the supervisor hand each other about active jobs: values, no behaviour.

A `Claim` is a job plus the token that makes it ours. What follows an attempt is decided in
`retry.py` and written by `settling.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from toril.runtime.options import JobOpts

if TYPE_CHECKING:
    from toril.runtime.limiter import RateLimit
    from toril.runtime.schedule import Due


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A job that is ours while the lock under its id holds our token.

    A struct, because one is made for every job: a frozen dataclass of as many fields takes four
    times as long (4 µs more). `msgspec.structs.replace` makes one that differs.

    Attributes:
        id: the job's id in its queue.
        token: the lock token, `<uuid>:<n>`, made before the claim was sent.
        name: the job's name; empty where a foreign producer wrote none.
        data: JSON text as it is in Redis, not parsed; empty when `unreadable`.
        opts: the options that a worker acts on; the defaults when `unreadable`.
        raw_opts: the options' JSON text as it is in Redis.
        timestamp_ms: when the job was created, by its producer's clock.
        priority: 0 without; else the lower, the sooner.
        attempts_made: attempts that ended before this one (`atm`).
        attempts_started: this attempt included (`ats`); the fencing number.
        stalls: times a worker went away with the job (`stc`).
        crashes: attempts that ended in a crash of the child.
        interruptions: attempts that were given back because the worker stopped.
        processed_on_ms: when this attempt was claimed, by the server's clock.
        checkpoint: JSON text that an earlier attempt left for this one, else None.
        is_cancelled: somebody has cancelled it; it is not to be run.
        deferred_failure: a reason to fail the job without running it, else None.
        unreadable: why data or options cannot be used, else None.
    """

    id: str
    token: str
    name: str
    data: bytes = b"{}"
    opts: JobOpts = msgspec.field(default_factory=JobOpts)
    raw_opts: bytes = b"{}"
    timestamp_ms: int = 0
    priority: int = 0
    attempts_made: int = 0
    attempts_started: int = 1
    stalls: int = 0
    crashes: int = 0
    interruptions: int = 0
    processed_on_ms: int = 0
    checkpoint: bytes | None = None
    is_cancelled: bool = False
    deferred_failure: str | None = None
    unreadable: str | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """When the schedule of a job runs next.

    Attributes:
        job_id: the job that carries the schedule on.
        at_ms: epoch ms; None when it does not run again.
        error: why nobody can say, else None; the job is not to be run.
    """

    job_id: str
    at_ms: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What a worker asks for.

    Attributes:
        count: at most so many jobs: one for each free child, and a few that stand in line.
        lock_ms: how long the locks hold.
        limit: the configured rate limit; applies only where Redis has none or an older revision.
        free: how many of them can run at once; None: all.
    """

    count: int
    lock_ms: int
    limit: RateLimit | None = None
    free: int | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """The answer to a claim.

    Attributes:
        claims: the jobs that are ours now, in the order they are to be run.
        due: the job that the claim stopped at, because what follows it has to be found first.
        limit_ttl_ms: until a rate limit lets the next job pass; 0 when none holds us.
        next_delayed_ms: when the first delayed job is due, by the server's clock; 0 for none.
        now_ms: the server's clock when it answered.
        gated: the queue is paused, or as many jobs are active as its global concurrency allows.
        ghosts: ids without a job that were removed on the way.
        more: the claim stopped with jobs perhaps still runnable: ask again at once.
    """

    claims: tuple[Claim, ...] = ()
    due: Due | None = None
    limit_ttl_ms: int = 0
    next_delayed_ms: int = 0
    now_ms: int = 0
    gated: bool = False
    ghosts: int = 0
    more: bool = False

    @property
    def next_delayed_in_ms(self) -> int | None:
        """How long until a delayed job is due, by one clock; None without one."""
        return max(self.next_delayed_ms - self.now_ms, 0) if self.next_delayed_ms else None


@dataclass(frozen=True, slots=True)
class Report:
    """What a running job said since its last report.

    Attributes:
        claim: the job.
        progress: JSON text of its latest progress, or None.
        log_lines: its new log lines, oldest first.
        data: JSON text that replaces the job's data, or None.
        stack: the Python stack of its child at this moment, or None.
        checkpoint: JSON text that its next attempt is to find, or None.
    """

    claim: Claim
    progress: bytes | None = None
    log_lines: tuple[str, ...] = ()
    data: bytes | None = None
    stack: str | None = None
    checkpoint: bytes | None = None


@dataclass(frozen=True, slots=True)
class Renewed:
    """The answer to a renewal.

    Attributes:
        lost: claims that are not ours any more.
        cancelled: claims that are ours, and whose jobs somebody has cancelled.
    """

    lost: tuple[Claim, ...] = ()
    cancelled: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class Marker:
    """A wake-up signal taken from the queue: `"0"` = fetch now, `"1"` = look at `score_ms`."""

    member: str
    score_ms: int
