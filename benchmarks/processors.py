"""What the benchmarks run: nothing at all, or a fixed amount of CPU."""

from __future__ import annotations

import time
from typing import Any


def noop(job: Any) -> None:
    """No work: what is left is the cost of running a job."""
    del job


def burn(job: Any) -> None:
    """50 ms of this thread's CPU time."""
    del job
    burn_ms(50)


def burn_ms(ms: int) -> None:
    until = time.thread_time() + ms / 1000
    while time.thread_time() < until:
        sum(range(500))
