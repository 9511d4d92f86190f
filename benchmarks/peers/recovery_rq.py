"""A job for RQ; `python recovery_rq.py PATH` adds it with a Retry."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from redis import Redis
from rq import Queue, Retry


def job(path: str) -> None:
    """Say that it runs, and where; the first time it then hangs."""
    line = f"{os.getpid()} {time.monotonic_ns()}\n"
    with Path(path).open("a") as file:
        file.write(line)
    if Path(path).read_text() == line:
        time.sleep(600)


if __name__ == "__main__":
    queue = Queue(connection=Redis.from_url(os.environ["BENCH_REDIS"]))
    queue.enqueue("recovery_rq.job", sys.argv[1], retry=Retry(max=3))
