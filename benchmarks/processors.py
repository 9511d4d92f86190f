"""What the benchmarks run: nothing at all, a wait, or a fixed amount of CPU."""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

MIB = 1024 * 1024


def noop(job: Any) -> None:
    """No work: what is left is the cost of running a job."""
    del job


def started(job: Any) -> float:
    """When this line ran, in milliseconds since the epoch."""
    now_ms = time.time() * 1000
    del job
    return now_ms


def nap(job: Any) -> None:
    """As many milliseconds as the job says, without CPU."""
    time.sleep(job.data["ms"] / 1000)


def burn(job: Any) -> None:
    """50 ms of this thread's CPU time."""
    del job
    burn_ms(50)


def burn_ms(ms: int) -> None:
    until = time.thread_time() + ms / 1000
    while time.thread_time() < until:
        sum(range(500))


def large(job: Any) -> Any:
    """Return as many MiB of records as the job's data says; made once, so that children wait."""
    return _records(job.data["mib"])


def chatter(job: Any) -> None:
    """Print as many MiB as the job's data says, in lines of 100 characters."""
    line = "x" * 99 + "\n"
    for _ in range(job.data["mib"]):
        sys.stdout.write(line * (MIB // len(line)))


def hang_once(job: Any) -> None:
    """Say that it runs, and where; the first time it then hangs."""
    line, path = f"{os.getpid()} {time.monotonic_ns()}\n", Path(job.data["path"])
    with path.open("a") as file:
        file.write(line)
    if path.read_text() == line:
        time.sleep(600)


@functools.cache
def _records(mib: int) -> list[dict[str, Any]]:
    one = {"id": 0, "name": "a record of which there are many", "share": 1 / 7, "tags": ["ä", "b"]}
    each = len(json.dumps(one, ensure_ascii=False).encode()) + len(", ")
    return [one] * (mib * MIB // each)
