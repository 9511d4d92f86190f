"""What does each isolation level cost: from fork to READY, and per job?

In turn on one machine, ratios to `process`. `strict` needs a child for every job, so its jobs pay
for forks, which are made ahead while a job runs. A pool of two, no Redis.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import uvloop

from benchmarks.harness import ROOT, Side, compare, options
from toril.call import Call
from toril.errors import SandboxUnavailable
from toril.sandbox.allow import Allow
from toril.sandbox.launcher import Zygote, ZygoteSpec
from toril.sandbox.levels import STRICT, Level
from toril.sandbox.limits import Limits
from toril.supervisor.pool import Pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CHILDREN = 2
HEADER = b'{"id":"1","name":"noop","queue":"bench","attempts_made":0,"attempts_started":1,'
HEADER += b'"timestamp":0,"priority":0,"opts":{}}'
CALL = Call("1", "noop", HEADER, b"{}")


class Bench:
    """Hears of children and outcomes, as a worker would."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self.outcomes = 0

    def on_outcome(self, *_: Any) -> None:
        """A job is done."""
        self.outcomes += 1
        self._news.set()

    async def hear(self) -> None:
        """Wait until something was heard."""
        self._news.clear()
        await self._news.wait()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("on_"):
            raise AttributeError(name)
        return self._heard

    def _heard(self, *_: Any) -> None:
        self._news.set()


def spec(level: Level, processor: str = "benchmarks.processors:noop") -> ZygoteSpec:
    """A zygote as the command line would have it; as root its children share their user."""
    is_strict = level in STRICT
    return ZygoteSpec(
        queue="bench",
        processor=processor,
        level=level,
        limits=Limits(max_jobs=1 if is_strict else None),
        python_path=[str(ROOT), *sys.path],
        working_directory=str(ROOT),
        allow=Allow(),
        waive=("cgroup", "uid"),
        import_in="child" if is_strict else "zygote",
    )


@asynccontextmanager
async def zygote(level: Level, bench: Bench) -> AsyncIterator[Zygote]:
    started = await Zygote.start(spec(level), bench)
    try:
        yield started
    finally:
        await started.stop()


async def ready_ms(level: Level, forks: int) -> float:
    """Median of serial forks, ms from the request to an idle child."""
    bench, times = Bench(), []
    async with zygote(level, bench) as forker:
        for _ in range(forks):
            began = time.perf_counter()
            child = forker.fork(1)
            while child.process.age_s is None:
                await bench.hear()
            times.append((time.perf_counter() - began) * 1000)
            child.retire()
            while child in forker.children:
                await bench.hear()
    return statistics.median(times)


async def per_job_us(level: Level, jobs: int) -> float:
    """Microseconds per job that does nothing, by a pool of two."""
    bench = Bench()
    pool = Pool(spec(level), CHILDREN, bench)
    await pool.open()
    try:
        began, given = time.perf_counter(), 0
        while bench.outcomes < jobs:
            while given < jobs and pool.free:
                pool.run(CALL)
                given += 1
            await bench.hear()
        return (time.perf_counter() - began) / jobs * 1e6
    finally:
        await pool.close()


def levels() -> list[Level]:
    """Those that this host has, the one to compare with last."""

    async def has(level: Level) -> bool:
        try:
            async with zygote(level, Bench()):
                return True
        except SandboxUnavailable as refusal:
            sys.stdout.write(f"left out: {refusal}\n")
            return False

    return [level for level in reversed(Level) if uvloop.run(has(level))]


def main() -> None:
    given = options(__doc__)
    forks, jobs = (5, 20) if given.smoke else (200, 1000)
    found = levels()
    compare(
        f"fork to READY, median of {forks}",
        "ms",
        [
            Side(level.value, lambda level=level: uvloop.run(ready_ms(level, forks)))
            for level in found
        ],
        given,
    )
    compare(
        f"{jobs} no-op jobs, {CHILDREN} children, no Redis",
        "us/job",
        [
            Side(level.value, lambda level=level: uvloop.run(per_job_us(level, jobs)))
            for level in found
        ],
        given,
    )


if __name__ == "__main__":
    main()
