"""BullMQ's Worker for Python: an async function, one process. Arguments: URL queue concurrency."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

from bullmq import Worker


async def noop(job: Any, token: str) -> None:
    del job, token


async def main(url: str, queue: str, concurrency: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    worker = Worker(queue, noop, {"connection": url, "concurrency": concurrency})
    await stop.wait()
    await worker.close()


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
