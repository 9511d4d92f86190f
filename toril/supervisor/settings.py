"""What a supervisor is told: one typed value, whoever fills it (flags now, a file later).

Values are checked when they are made, so that nothing is started with half a configuration. A
change must keep: a message begins with the setting's name, `NAME is VALUE; expected …`, so that
whoever filled it in can put the words its user knows in place of the first part.
"""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from toril.checks import refusals, refuse
from toril.errors import InvalidOption
from toril.log_settings import LogSettings
from toril.runtime.connection import open_pool
from toril.runtime.keys import check_prefix, check_queue_name
from toril.runtime.retry import KEEP_EVERYTHING
from toril.sandbox.allow import Allow
from toril.sandbox.environment import check_names
from toril.sandbox.levels import MECHANISMS, STRICT, Level
from toril.sandbox.limits import Limits
from toril.supervisor import cores
from toril.supervisor.service.address import parse_address
from toril.units import format_bytes, format_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from toril.runtime.limiter import RateLimit
    from toril.runtime.options import KeepRule

MIN_LOCK_MS = 500
"""Shortest lock; chosen: renewal comes at a quarter of it, a busy machine's loop needs 100 ms."""

MIN_SWEEP_MS = 100
"""Shortest interval between looks for stalled jobs; chosen: each is a script over `active`."""

MIN_MEMORY_BYTES = 16 * 1024 * 1024
"""Least memory for a job; chosen: with less, ordinary imports inside a function fail."""


def default_worker_name() -> str:
    """`host-pid`: what a job's `pb` field and BullMQ's list of workers show."""
    return f"{socket.gethostname()}-{os.getpid()}"


def usable_cores() -> int:
    """CPU cores this process may use, by affinity and by the quotas of its control groups."""
    return cores.usable()


_NAME = re.compile(r"[!-~]{1,200}")
"""What CLIENT SETNAME takes; the length is chosen."""

MAX_METRICS = 20_160
"""Most minutes of metrics; given by BullMQ: two weeks."""


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """One queue, as one supervisor works it.

    Attributes:
        processor: `"module:attribute"`, a function or a mapping from job name to functions.
        concurrency: children, that is jobs at a time; the most of them with `min_concurrency`.
        min_concurrency: the least of them, while nothing waits; None: always as many.
        lock_ms: how long a job stays ours without renewal; renewed every quarter.
        stalled_interval_ms: how often abandoned jobs are looked for.
        max_stalled: recoveries of one job before it fails.
        rate_limit: used when Redis has none yet; global over all workers of the queue.
        poll_ms: longest wait for a wake-up; every lost one costs at most this.
        renew_every_s: between renewals of all locks; None: a quarter of the lock. Infinity never
            renews, which only the proof that renewal matters wants.
        max_crashes: child deaths of one job before it fails.
        on_crash: what a child's death does to its job while crashes are left.
        max_started_attempts: starts of one job before it fails, whatever became of them; None: no
            limit.
        keep_completed: which completed jobs stay whose own options say nothing; likewise
            `keep_failed`.
        metrics_size: minutes of BullMQ's metrics that are kept; 0: none.
        import_in: `zygote` imports the processor once, `child` in every child.
        threads: threads that numeric libraries may start in a child.
        backoff: `"module:attribute"`, a mapping from name to back-off strategies; None: none.
        listeners: `"module:attribute"`, a mapping from event name to functions; None: none.
        listener_timeout_s: longest time of a listener for one event.
        level: how strongly children are isolated.
        allow: what its processors may have, `env` included.
        waive: mechanisms of the level whose absence on this host is accepted, by name.
        child_uid: first of the users that children run as, one each, when toril is root and the
            level is at least `restricted`; None: the default range.
        preload: modules that are imported once for all children, when those import the processor
            themselves; for heavy libraries.
        hidden: files that its processors may not read from level `restricted` up, whatever their
            names: where these settings come from.
    """

    name: str
    processor: str
    concurrency: int = field(default_factory=usable_cores)
    min_concurrency: int | None = None
    lock_ms: int = 30_000
    stalled_interval_ms: int = 30_000
    max_stalled: int = 1
    rate_limit: RateLimit | None = None
    poll_ms: int = 5_000
    renew_every_s: float | None = None
    max_crashes: int = 3
    on_crash: Literal["retry", "fail"] = "retry"
    max_started_attempts: int | None = None
    keep_completed: KeepRule = KEEP_EVERYTHING
    keep_failed: KeepRule = KEEP_EVERYTHING
    metrics_size: int = 0
    import_in: Literal["zygote", "child"] = "zygote"
    threads: int = 1
    level: Level = Level.RESTRICTED
    limits: Limits = field(default_factory=Limits)
    backoff: str | None = None
    listeners: str | None = None
    listener_timeout_s: float = 10.0
    allow: Allow = field(default_factory=Allow)
    waive: tuple[str, ...] = ()
    child_uid: int | None = None
    preload: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            InvalidSettings: a name or number outside its range, a processor that is no path, or an
                allowance that the level does not have.
        """
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        yield from refusals(check_queue_name, self.name)
        yield from refusals(_check_allow, self.allow, self.level)
        yield from refusals(_check_waivers, self.waive)
        paths = {"processor": self.processor, "backoff": self.backoff, "listeners": self.listeners}
        for what, path in paths.items():
            if path is not None:
                yield from refusals(_check_path, what, path)
        for what, (value, known) in {
            "on_crash": (self.on_crash, ("retry", "fail")),
            "import_in": (self.import_in, ("zygote", "child")),
        }.items():
            if value not in known:
                yield f"{what} is {value!r}; expected {known[0]!r} or {known[1]!r}"
        for what, (number, least) in {
            "min_concurrency": (self.min_concurrency, 1),
            "concurrency": (self.concurrency, max(1, self.least_concurrency)),
            "threads": (self.threads, 1),
            "child_uid": (self.child_uid, 1),
            "max_started_attempts": (self.max_started_attempts, 1),
            "max_stalled": (self.max_stalled, 0),
            "max_crashes": (self.max_crashes, 1),
        }.items():
            yield from _too_small(what, number, least)
        yield from _too_small("lock_ms", self.lock_ms, MIN_LOCK_MS, format_ms)
        least_ms = MIN_SWEEP_MS
        yield from _too_small("stalled_interval_ms", self.stalled_interval_ms, least_ms, format_ms)
        least_bytes = MIN_MEMORY_BYTES
        yield from _too_small("memory_bytes", self.limits.memory_bytes, least_bytes, format_bytes)
        if self.listener_timeout_s <= 0:
            yield f"listener_timeout_s is {self.listener_timeout_s!r}; expected more than 0"
        if not 0 <= self.metrics_size <= MAX_METRICS:
            yield (
                f"metrics_size is {self.metrics_size}; expected 0 to {MAX_METRICS} (two weeks "
                "of minutes)"
            )

    @property
    def least_concurrency(self) -> int:
        """Children there are at least."""
        return self.concurrency if self.min_concurrency is None else self.min_concurrency


@dataclass(frozen=True, slots=True)
class Settings:
    """One supervisor.

    Attributes:
        redis: a URL as redis-py takes it.
        queues: what it works.
        drain_timeout_ms: how long running jobs may go on after the first SIGTERM or SIGINT.
        until_empty: stop when nothing is waiting, prioritized, delayed or active here.
        worker_name: shown by BullMQ's `getWorkers` and in each job's `processedBy`; without spaces,
            which Redis does not allow in a connection's name.
        health_listen: `HOST:PORT` or `unix:/path` for probes and scrapers; None: nowhere.
        log: what its log says, and how.
    """

    redis: str
    queues: tuple[QueueSettings, ...]
    prefix: str = "bull"
    drain_timeout_ms: int = 30_000
    until_empty: bool = False
    worker_name: str = field(default_factory=default_worker_name)
    health_listen: str | None = None
    log: LogSettings = field(default_factory=LogSettings)

    def __post_init__(self) -> None:
        """Refuse what cannot work; nothing is connected for it.

        Raises:
            InvalidSettings: a URL or prefix that cannot be used, no queue, one twice, or a negative
                time.
        """
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        yield from refusals(open_pool, self.redis)
        yield from refusals(check_prefix, self.prefix)
        yield from _too_small("drain_timeout_ms", self.drain_timeout_ms, 0, format_ms)
        if not _NAME.fullmatch(self.worker_name):
            yield f"worker_name is {self.worker_name!r}; expected printable ASCII without spaces"
        if self.health_listen is not None:
            yield from refusals(parse_address, self.health_listen)
        names = [queue.name for queue in self.queues]
        if not names or len(set(names)) < len(names):
            yield f"queues are {names}; expected at least one, each of them once"


def _too_small(
    what: str, value: float | None, least: float, written: Callable[[float], str] = str
) -> Iterator[str]:
    if value is not None and value < least:
        yield f"{what} is {written(value)}; expected at least {written(least)}"


def _check_path(what: str, path: str) -> None:
    module, _, attribute = path.partition(":")
    if not (module and attribute):
        raise InvalidOption(
            f'{what} is {path!r}; expected "module:attribute", such as "myapp.images:optimize"'
        )
    if "/" in module or module.endswith(".py"):
        parts = module.removesuffix(".py").split("/")
        name = ".".join(part for part in parts if part.isidentifier())
        raise InvalidOption(
            f"{what} is {path!r}; expected the name of a module, not a file: "
            f'"{name or "myapp"}:{attribute}"'
        )


def _check_allow(allow: Allow, level: Level) -> None:
    check_names(allow.env)
    _check_variables(allow.env)
    for queue in allow.queues:
        check_queue_name(queue)
    if level in STRICT and allow.exec:
        raise InvalidOption(
            "exec is set; expected it unset at level 'strict', in which nothing starts "
            "processes: use level 'restricted'"
        )


def _check_waivers(names: Sequence[str]) -> None:
    for name in names:
        if name not in MECHANISMS:
            known = ", ".join(MECHANISMS)
            raise InvalidOption(f"waive names {name!r}; expected one of {known}")


def _check_variables(names: Sequence[str]) -> None:
    for name in names:
        key, equals, _value = name.partition("=")
        if equals:
            raise InvalidOption(
                f"env gives {key!r} a value; expected NAME alone. The value is taken from the "
                "environment that this is started in"
            )
        if not name or "\0" in name:
            raise InvalidOption(f"env names {name!r}; expected NAME, an environment variable")
