"""One function each, in a module that imports as little as a processor can."""

# ruff: noqa: ARG001, PTH109, PTH110, PTH115, PTH123, PTH208 - without pathlib: what it imports counts

import gc
import os
import random
import resource
import signal
import sys
import time


def inside(job):
    """What a child finds around itself."""
    names = [int(name) for name in os.listdir("/proc/self/fd")]
    return {
        "modules": sorted(sys.modules),
        "environ": dict(os.environ),
        "fds": sorted(fd for fd in names if os.path.exists(f"/proc/self/fd/{fd}")),
        "cwd": os.getcwd(),
        "umask": os.umask(0o077),
        "nice": os.nice(0),
        "scheduler": os.sched_getscheduler(0),
        "oom": int(read("/proc/self/oom_score_adj")),
        "session": os.getsid(0) == os.getpid(),
        "stdin": os.readlink("/proc/self/fd/0"),
        "parent": os.getppid(),
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "gc": gc.isenabled(),
        "limits": {
            "core": resource.getrlimit(resource.RLIMIT_CORE),
            "data": resource.getrlimit(resource.RLIMIT_DATA),
        },
    }


def read(path):
    with open(path) as file:
        return file.read()


def draw(job):
    return random.random()


def check_often(job):
    """Microseconds a call."""
    begun = time.perf_counter()
    for _ in range(job.data):
        job.check()
    return (time.perf_counter() - begun) / job.data * 1e6


class Backoff:
    """As much of toril's as a child sees."""

    kind, delay_ms, jitter = "exponential", 1000, 0.5


def add_with_backoff(job):
    return job.add("next", backoff=Backoff())


def env_of(job):
    return job.env
