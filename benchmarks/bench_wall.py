"""What does one call through the wall cost, and whom?

CPU time of a no-op job, from `Child.run` to its outcome and the next offer, in the supervisor's
process and in the child: two children, the next call at once, no Redis.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import uvloop

from benchmarks.bench_isolation import spec
from benchmarks.harness import Side, compare, options
from toril.call import Call, Verdict
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


async def per_call(level: Level, calls: int) -> dict[str, float]:
    """Microseconds per call: on the clock, and CPU of this process and of its child."""
    async with children(level) as (driver, forked):
        await driver.run(min(calls, WARM_UP))
        before = time.perf_counter(), time.process_time(), cpu_us(forked)
        await driver.run(calls)
        after = time.perf_counter(), time.process_time(), cpu_us(forked)
    wall_s, own_s, theirs_us = (late - early for early, late in zip(before, after, strict=True))
    return {
        "µs/call": wall_s / calls * 1e6,
        "supervisor µs/call": own_s / calls * 1e6,
        "child µs/call": theirs_us / calls,
    }


def main() -> None:
    given = options(__doc__)
    calls = 100 if given.smoke else 20_000
    sides = [
        Side(level.value, lambda level=level: uvloop.run(per_call(level, calls)))
        for level in (Level.RESTRICTED, Level.PROCESS)
    ]
    compare(f"{calls} no-op calls, {CHILDREN} children, no Redis", "µs/call", sides, given)


if __name__ == "__main__":
    main()
