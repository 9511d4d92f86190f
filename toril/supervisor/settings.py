"""What a supervisor is told: one typed value, whoever fills it (flags now, a file later).

Values are checked when they are made, so that nothing is started with half a configuration.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from toril.errors import InvalidOption
from toril.sandbox.environment import check_names
from toril.sandbox.levels import Level
from toril.sandbox.limits import Limits

if TYPE_CHECKING:
    from toril.runtime.limiter import RateLimit

MIN_LOCK_MS = 500
"""Shortest lock; chosen: renewal comes at a quarter of it, a busy machine's loop needs 100 ms."""


def default_worker_name() -> str:
    """`host-pid`: what a job's `pb` field and BullMQ's list of workers show."""
    return f"{socket.gethostname()}-{os.getpid()}"


def usable_cores() -> int:
    """CPU cores this process may run on."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """One queue, as one supervisor works it.

    Attributes:
        processor: `"module:attribute"`, a function or a mapping from job name to functions.
        concurrency: children, that is jobs at a time.
        lock_ms: how long a job stays ours without renewal; renewed every quarter.
        stalled_interval_ms: how often abandoned jobs are looked for.
        max_stalled: recoveries of one job before it fails.
        rate_limit: used when Redis has none yet; global over all workers of the queue.
        poll_ms: longest wait for a wake-up; every lost one costs at most this.
        renew_every_s: between renewals of all locks; None: a quarter of the lock. Infinity never
            renews, which only the proof that renewal matters wants.
        max_crashes: child deaths of one job before it fails.
        on_crash: what a child's death does to its job while crashes are left.
        env: names of environment variables that the processor may see.
    """

    name: str
    processor: str
    concurrency: int = field(default_factory=usable_cores)
    lock_ms: int = 30_000
    stalled_interval_ms: int = 30_000
    max_stalled: int = 1
    rate_limit: RateLimit | None = None
    poll_ms: int = 5_000
    renew_every_s: float | None = None
    max_crashes: int = 3
    on_crash: Literal["retry", "fail"] = "retry"
    level: Level = Level.PROCESS
    limits: Limits = field(default_factory=Limits)
    env: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            InvalidOption: a number outside its range, or a processor that is no path.
        """
        check_names(self.env)
        module, _, attribute = self.processor.partition(":")
        if not (module and attribute):
            raise InvalidOption(
                f'processor is {self.processor!r}; expected "module:attribute", '
                'such as "myapp.images:optimize"'
            )
        for what, value, least in (
            ("concurrency", self.concurrency, 1),
            ("lock_duration in ms", self.lock_ms, MIN_LOCK_MS),
            ("stalled_interval in ms", self.stalled_interval_ms, 100),
            ("max_crashes", self.max_crashes, 1),
        ):
            if value < least:
                raise InvalidOption(f"{what} is {value}; expected at least {least}")


@dataclass(frozen=True, slots=True)
class Settings:
    """One supervisor.

    Attributes:
        redis: a URL as redis-py takes it.
        queues: what it works.
        drain_timeout_ms: how long running jobs may go on after the first SIGTERM or SIGINT.
        until_empty: stop when nothing is waiting, prioritized, delayed or active here.
        worker_name: shown by BullMQ's `getWorkers` and in each job's `processedBy`.
    """

    redis: str
    queues: tuple[QueueSettings, ...]
    prefix: str = "bull"
    drain_timeout_ms: int = 30_000
    until_empty: bool = False
    worker_name: str = field(default_factory=default_worker_name)
