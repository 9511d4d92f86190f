"""What does one call through the wall cost, and whom?

CPU time of a no-op job, from `Child.run` to its outcome and the next offer, in the supervisor's
process and in the child: two children, the next call at once, no Redis.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import uvloop

from benchmarks.bench_isolation import spec
from benchmarks.harness import machine, options
from toril.call import Call, Verdict
from toril.errors import SandboxUnavailable
from toril.sandbox import proc
from toril.sandbox.launcher import Zygote
from toril.sandbox.levels import Level

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from toril.call import Outcome
    from toril.sandbox.handle import Child

CHILDREN = 2
HEADER = b'{"id":"1","name":"noop","queue":"bench","attempts_made":0,"attempts_started":1,'
HEADER += b'"timestamp":0,"priority":0,"opts":{}}'
CALL = Call("1", "noop", HEADER, b"{}")
WARM_UP = 500


class Driver:
    """Gives every idle child the next call until `calls` of them have returned."""

    def __init__(self) -> None:
        self.idle: list[Child] = []
        self._left = self._open = 0
        self._done: asyncio.Future[None] | None = None
        self._news = asyncio.Event()

    async def idles(self) -> None:
        """Until all children are idle."""
        while len(self.idle) < CHILDREN:
            self._news.clear()
            await self._news.wait()

    async def run(self, calls: int) -> None:
        """Run so many calls."""
        self._left = self._open = calls
        self._done = asyncio.get_running_loop().create_future()
        for child in self.idle.copy():
            self.idle.remove(child)
            self.on_idle(child)
        await self._done
        await self.idles()

    def on_idle(self, child: Child) -> None:
        """Part of `ChildListener`."""
        if self._left:
            self._left -= 1
            child.run(CALL)
        else:
            self.idle.append(child)
            self._news.set()

    def on_outcome(self, _child: Child, _call: Call, outcome: Outcome) -> None:
        """Part of `ChildListener`."""
        if outcome.verdict is not Verdict.RETURNED:
            raise RuntimeError(f"{outcome.verdict}: {outcome.message}")
        self._open -= 1
        if self._open == 0 and self._done is not None:
            self._done.set_result(None)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda *_: None


@asynccontextmanager
async def children(level: Level) -> AsyncIterator[tuple[Driver, list[Child]]]:
    driver = Driver()
    zygote = await Zygote.start(spec(level), driver)
    try:
        forked = [zygote.fork(slot + 1) for slot in range(CHILDREN)]
        await driver.idles()
        yield driver, forked
    finally:
        await zygote.stop()


def cpu_us(forked: list[Child]) -> float:
    """CPU time of the children so far."""
    return sum(1000 * (proc.cpu_ms(child.pid or 0) or 0.0) for child in forked)


async def per_call_us(level: Level, calls: int) -> tuple[float, float, float]:
    """Microseconds per call: CPU of this process, of its child, and on the clock."""
    async with children(level) as (driver, forked):
        await driver.run(min(calls, WARM_UP))
        before = time.process_time(), cpu_us(forked), time.perf_counter()
        await driver.run(calls)
        after = time.process_time(), cpu_us(forked), time.perf_counter()
    own, theirs, wall = (late - early for early, late in zip(before, after, strict=True))
    return own / calls * 1e6, theirs / calls, wall / calls * 1e6


def main() -> None:
    given = options(__doc__)
    calls = 100 if given.smoke else 20_000
    sys.stdout.write(f"{calls} no-op calls, {CHILDREN} children, us per call\n  {machine()}\n")
    for turn in range(given.runs):
        for level in (Level.PROCESS, Level.RESTRICTED):
            try:
                figures = uvloop.run(per_call_us(level, calls))
            except SandboxUnavailable as refusal:
                sys.stdout.write(f"left out: {refusal}\n")
                continue
            own, theirs, wall = figures
            sys.stdout.write(
                f"  turn {turn + 1} {level.value:<12} supervisor {own:6.1f}  child {theirs:6.1f}  "
                f"wall {wall:6.1f}\n"
            )


if __name__ == "__main__":
    main()
