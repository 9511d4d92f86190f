"""BullMQ's producer for Python. Arguments: URL, queue, jobs."""

from __future__ import annotations

import asyncio
import sys
import time

from bullmq import Queue


async def main(url: str, name: str, jobs: int) -> tuple[float, float]:
    queue = Queue(name, {"connection": url})
    await queue.add("job", {"n": -1})
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    for n in range(jobs):
        await queue.add("job", {"n": n})
    took_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    await queue.close()
    return took_s, cpu_s


sys.stdout.write("{} {}".format(*asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
