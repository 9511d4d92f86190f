"""toril's producers. Arguments: blocking, asyncio or bulk; URL, queue, jobs."""

from __future__ import annotations

import asyncio
import sys
import time

from toril import AsyncQueue, NewJob, Queue


def blocking(url: str, name: str, jobs: int) -> float:
    with Queue(name, redis=url) as queue:
        queue.add("job", {"n": -1})
        start_s = time.perf_counter()
        for n in range(jobs):
            queue.add("job", {"n": n})
        return time.perf_counter() - start_s


def bulk(url: str, name: str, jobs: int) -> float:
    with Queue(name, redis=url) as queue:
        queue.add("job", {"n": -1})
        start_s = time.perf_counter()
        queue.add_bulk(NewJob("job", {"n": n}) for n in range(jobs))
        return time.perf_counter() - start_s


async def with_asyncio(url: str, name: str, jobs: int) -> float:
    async with AsyncQueue(name, redis=url) as queue:
        await queue.add("job", {"n": -1})
        start_s = time.perf_counter()
        for n in range(jobs):
            await queue.add("job", {"n": n})
        return time.perf_counter() - start_s


if __name__ == "__main__":
    mode, url, name, jobs = sys.argv[1:]
    if mode == "asyncio":
        sys.stdout.write(str(asyncio.run(with_asyncio(url, name, int(jobs)))))
    else:
        run = {"blocking": blocking, "bulk": bulk}[mode]
        sys.stdout.write(str(run(url, name, int(jobs))))
