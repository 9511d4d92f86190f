"""The demo's play: which jobs are added, and the harm that is done while they run.

`Stage.tick()` is called about ten times a second; it samples the blocked job's lock through a
connection of its own and kills the victim's child. What became of it all is asked in `promises`.
"""

from __future__ import annotations

import os
import signal
import sysconfig
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from toril.demo.supervise import LIMITED_QUEUE, LOCK_MS, MEMORY_BYTES, WORK_QUEUE
from toril.runtime.newjob import NewJob
from toril.runtime.queue import Queue

if TYPE_CHECKING:
    import redis

    from toril.runtime.job import Job

FILES = 320
"""Source files of the standard library that are measured; chosen: about 10 s on two cores."""

FILE_BYTES = 2_000
"""Smallest file worth measuring; chosen."""

FILES_PER_JOB = 4
ODD_FILES = 8
TICKS = 90
BLOCK_S = 3 * LOCK_MS / 1000


def standard_library() -> tuple[list[str], list[str]]:
    """(ordinary source files, files that may not parse) of the running Python, fixed order."""
    root = Path(sysconfig.get_paths()["stdlib"])
    ordinary = sorted(
        (path for path in root.glob("*.py") if path.stat().st_size > FILE_BYTES),
        key=lambda path: (-path.stat().st_size, path.name),
    )
    packages = sorted(root.glob("*/*.py"), key=lambda path: (-path.stat().st_size, path.name))
    packages = [path for path in packages if path.parts[-2] not in {"site-packages", "test"}]
    odd = [*root.glob("lib2to3/tests/data/*.py"), *root.glob("test/**/bad*.py")]
    return (
        [str(path) for path in (ordinary + packages)[:FILES]],
        [str(path) for path in sorted(odd)[:ODD_FILES]],
    )


@dataclass
class Stage:
    """The jobs of one demo and what was seen from outside while they ran."""

    work: Queue
    limited: Queue
    client: redis.Redis
    measured: list[Job] = field(default_factory=list)
    ticks: list[Job] = field(default_factory=list)
    killed_pid: int | None = None
    lock_samples: int = 0
    lock_missing: int = 0

    def set(self) -> None:
        """Add every job."""
        self.block = self.work.add("block", {"seconds": BLOCK_S}, attempts=2)
        self.victim = self.work.add("victim", attempts=1)
        self.hoard = self.work.add("hoard", {"megabytes": 4 * MEMORY_BYTES // 2**20})
        ordinary, odd = standard_library()
        batches = [ordinary[i : i + FILES_PER_JOB] for i in range(0, len(ordinary), FILES_PER_JOB)]
        self.measured = self.work.add_bulk(
            NewJob("measure", {"paths": paths}) for paths in [*batches, *([path] for path in odd)]
        )
        self.ticks = self.limited.add_bulk(NewJob("tick") for _ in range(TICKS))

    @property
    def total(self) -> int:
        """Jobs of both queues."""
        return 3 + len(self.measured) + len(self.ticks)

    def tick(self) -> None:
        """Look at the blocked job's lock; kill the victim's child once it is known."""
        self._sample_lock()
        if self.killed_pid is None:
            self._kill_victim()

    def settled(self) -> int:
        """Jobs that ended, by what Redis says."""
        return sum(
            counts["completed"] + counts["failed"]
            for counts in (self.work.counts(), self.limited.counts())
        )

    def _sample_lock(self) -> None:
        base = f"bull:{WORK_QUEUE}:"
        with self.client.pipeline(transaction=True) as pipe:
            pipe.lpos(base + "active", self.block.id)
            pipe.exists(f"{base}{self.block.id}:lock")
            position, is_locked = pipe.execute()
        if position is not None:
            self.lock_samples += 1
            self.lock_missing += not is_locked

    def _kill_victim(self) -> None:
        job = self.work.get_job(self.victim.id)
        if job is not None and isinstance(job.progress, dict):
            self.killed_pid = int(job.progress["pid"])
            with suppress(ProcessLookupError):
                os.kill(self.killed_pid, signal.SIGKILL)


def open_stage(url: str, client: redis.Redis) -> Stage:
    """A stage on a fresh server."""
    return Stage(Queue(WORK_QUEUE, redis=url), Queue(LIMITED_QUEUE, redis=url), client)
