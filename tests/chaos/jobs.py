"""The jobs of a chaos run: the kinds, how often each comes, and the one processor that runs all.

A job tells the ledger that it started, then waits, does the harm that it is made for, takes effect,
waits again, tells that it finished and returns. What it will do to itself it declares before.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.chaos.ledger import note, now_ms, own_ledger, start_ticks, write_guarded
from toril import Backoff, NewJob, Unrecoverable

if TYPE_CHECKING:
    import random
    import sqlite3
    from collections.abc import Sequence

    from toril import SandboxedJob

ALWAYS = 1000
"""So many starts are harmed that it is every one."""

OVER_MEMORY_BYTES = 1 << 30
LONG_S = 60.0


@dataclass(frozen=True)
class Kind:
    """One kind of job.

    Attributes:
        weight: how often it comes, against the others.
        seconds: the shortest and the longest time on each side of its effect.
        how: it spends them asleep, computing (`spin`) or inside C with the GIL held (`block`).
        harm: what it does to itself, before its effect.
        harmed: in so many of its starts.
        delay_s: it is due at the earliest after, and at the latest.
        options: of the add.
    """

    weight: int
    seconds: tuple[float, float] = (0.01, 0.15)
    how: str = "sleep"
    harm: str = ""
    harmed: int = 0
    delay_s: tuple[float, float] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def fails(self) -> bool:
        """Does it fail in the end, whatever the faults leave alone?"""
        return self.harmed == ALWAYS


_TWICE_AGAIN = {"attempts": 3, "backoff": Backoff.fixed("200ms")}
_ONCE_AGAIN = {"attempts": 2, "backoff": Backoff.fixed("100ms")}

KINDS: dict[str, Kind] = {
    "ok": Kind(30),
    "slow": Kind(15, (0.2, 0.7)),
    "spin": Kind(8, (0.02, 0.08), "spin"),
    "block": Kind(2, (1.0, 1.2), "block"),
    "chatty": Kind(5, (0.05, 0.1), "chat"),
    "delayed": Kind(8, delay_s=(0.2, 4.0)),
    "prioritized": Kind(8, options={"priority": 3}),
    "urgent": Kind(3, options={"priority": 1}),
    "lifo": Kind(2, options={"lifo": True}),
    "raise-once": Kind(5, harm="raise", harmed=1, options=_TWICE_AGAIN),
    "raise": Kind(4, harm="raise", harmed=ALWAYS, options=_ONCE_AGAIN),
    "give-up": Kind(2, harm="give-up", harmed=ALWAYS),
    "crash-once": Kind(4, harm="crash", harmed=1),
    "exit-once": Kind(2, harm="exit", harmed=1),
    "poison": Kind(1, harm="crash", harmed=ALWAYS),
    "over-memory": Kind(3, harm="memory", harmed=ALWAYS),
    "hang": Kind(1, harm="hang", harmed=ALWAYS),
    "daemon": Kind(3, (0.1, 0.4), harm="daemon", harmed=1),
}


EVERYWHERE = tuple(
    name
    for name, kind in KINDS.items()
    if kind.how == "sleep" and kind.harm in {"", "raise", "give-up"}
)
"""The kinds that a worker in Node can do as well."""


def draw(rng: random.Random, ticket: str, kinds: Sequence[str] = tuple(KINDS)) -> NewJob:
    """A job of one of these kinds, which come with their weights."""
    weights = [KINDS[name].weight for name in kinds]
    kind_name = rng.choices(kinds, weights)[0] if len(kinds) > 1 else kinds[0]
    kind = KINDS[kind_name]
    options = dict(kind.options)
    if kind.delay_s is not None:
        options["delay"] = f"{round(1000 * rng.uniform(*kind.delay_s))}ms"
    sides_s = [rng.uniform(*kind.seconds) for _ in range(2)]
    return NewJob(kind_name, {"ticket": ticket, "sides_s": sides_s}, **options)


def processor(job: SandboxedJob) -> dict[str, Any]:
    """Every kind."""
    ledger, kind = own_ledger(), KINDS[job.name]
    ticket, attempt = job.data["ticket"], job.attempts_started
    before_s, after_s = job.data["sides_s"]
    note(ledger, "started", ticket, job.id, attempt, os.getpid(), now_ms())
    _spend(job, kind.how, before_s)
    if attempt <= kind.harmed:
        note(ledger, "declared", ticket, attempt, kind.harm, now_ms())
        _HARMS[kind.harm](ledger)
    was_taken = write_guarded(ledger, ticket, attempt)
    note(ledger, "effect", ticket, attempt, was_taken, now_ms())
    _spend(job, kind.how, after_s)
    note(ledger, "finished", ticket, attempt, now_ms())
    return {"ticket": ticket, "attempt": attempt}


def _spend(job: SandboxedJob, how: str, seconds: float) -> None:
    if how == "block":
        ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
    elif how == "spin":
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            sum(range(1000))
    else:
        if how == "chat":
            job.log(f"{seconds} s to go")
            job.update_progress({"seconds": seconds})
        time.sleep(seconds)


def _raise(_ledger: sqlite3.Connection) -> None:
    raise RuntimeError("as declared")


def _give_up(_ledger: sqlite3.Connection) -> None:
    raise Unrecoverable("as declared")


def _crash(_ledger: sqlite3.Connection) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(LONG_S)


def _exit(_ledger: sqlite3.Connection) -> None:
    os._exit(0)


def _hoard(_ledger: sqlite3.Connection) -> None:
    bytearray(OVER_MEMORY_BYTES)


def _hang(_ledger: sqlite3.Connection) -> None:
    time.sleep(LONG_S)


def _leave_daemon(ledger: sqlite3.Connection) -> None:
    daemon = subprocess.Popen(
        ["sleep", str(LONG_S)], start_new_session=True, stdout=subprocess.DEVNULL
    )
    note(ledger, "process", daemon.pid, start_ticks(daemon.pid), "daemon of a job")


_HARMS = {
    "raise": _raise,
    "give-up": _give_up,
    "crash": _crash,
    "exit": _exit,
    "memory": _hoard,
    "hang": _hang,
    "daemon": _leave_daemon,
}
