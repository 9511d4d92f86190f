"""How a producer is measured: a program of its own adds jobs and says how long it took.

Each program adds one job first, so that connections stand and scripts are known, and prints the
seconds that the others took; those in Python then the CPU seconds of the process in them.
"""

from __future__ import annotations

import os
import subprocess
import sys

import redis

from benchmarks.machine import PEERS, ROOT
from benchmarks.servers import server_cpu_s

QUEUE = "bench-add"
PRODUCERS = ROOT / "benchmarks" / "producers"


def toril(mode: str) -> list[str]:
    """The command of toril's producer, `blocking`, `asyncio` or `bulk`."""
    return [sys.executable, str(PRODUCERS / "toril_adds.py"), mode]


def rate(command: list[str], url: str, jobs: int) -> float:
    """Let a program add jobs to an empty server: jobs per second."""
    return jobs / float(_added(command, url, jobs).split()[0])


def figures(command: list[str], url: str, jobs: int) -> dict[str, float]:
    """The same with the CPU that it took, which wakings and neighbours change less."""
    with redis.Redis.from_url(url) as client:
        before_s = server_cpu_s(client)
        took_s, cpu_s = map(float, _added(command, url, jobs).split())
        server_s = server_cpu_s(client) - before_s
    return {
        "jobs/s": jobs / took_s,
        "producer µs/job": cpu_s / jobs * 1e6,
        "server µs/job": server_s / jobs * 1e6,
    }


def _added(command: list[str], url: str, jobs: int) -> str:
    """What the program says; all its jobs must stand in Redis."""
    with redis.Redis.from_url(url) as client:
        client.flushall()
        done = subprocess.run(
            [*command, url, QUEUE, str(jobs)],
            cwd=ROOT,
            env={**os.environ, "NODE_PATH": str(PEERS / "node_modules"), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr.decode()[-2000:])
        found = client.llen(f"bull:{QUEUE}:wait")
        if found != jobs + 1:
            raise RuntimeError(f"{found} of {jobs + 1} jobs stand in Redis")
    return done.stdout.decode()
