"""BullMQ's producer for Python. Arguments: URL, queue, jobs."""

from __future__ import annotations

import asyncio
import sys
import time

from bullmq import Queue


async def main(url: str, name: str, jobs: int) -> float:
    queue = Queue(name, {"connection": url})
    await queue.add("job", {"n": -1})
    start_s = time.perf_counter()
    for n in range(jobs):
        await queue.add("job", {"n": n})
    took_s = time.perf_counter() - start_s
    await queue.close()
    return took_s


sys.stdout.write(str(asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
