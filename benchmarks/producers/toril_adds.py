"""toril's producers. Arguments: blocking, asyncio or bulk; URL, queue, jobs."""

from __future__ import annotations

import asyncio
import sys
import time

from toril import AsyncQueue, NewJob, Queue

Took = tuple[float, float]
"""Seconds by the clock, and of CPU."""


def now() -> Took:
    return time.perf_counter(), time.process_time()


def since(start: Took) -> Took:
    clock_s, cpu_s = now()
    return clock_s - start[0], cpu_s - start[1]


def blocking(url: str, name: str, jobs: int) -> Took:
    with Queue(name, redis=url) as queue:
        queue.add("job", {"n": -1})
        start = now()
        for n in range(jobs):
            queue.add("job", {"n": n})
        return since(start)


def bulk(url: str, name: str, jobs: int) -> Took:
    with Queue(name, redis=url) as queue:
        queue.add("job", {"n": -1})
        start = now()
        queue.add_bulk(NewJob("job", {"n": n}) for n in range(jobs))
        return since(start)


async def with_asyncio(url: str, name: str, jobs: int) -> Took:
    async with AsyncQueue(name, redis=url) as queue:
        await queue.add("job", {"n": -1})
        start = now()
        for n in range(jobs):
            await queue.add("job", {"n": n})
        return since(start)


if __name__ == "__main__":
    mode, url, name, jobs = sys.argv[1:]
    if mode == "asyncio":
        took = asyncio.run(with_asyncio(url, name, int(jobs)))
    else:
        took = {"blocking": blocking, "bulk": bulk}[mode](url, name, int(jobs))
    sys.stdout.write("{} {}".format(*took))
