"""toril: BullMQ-compatible worker runtime; every job in a forked, supervised child process.

The public names, nothing else. They are handed on lazily, so that a processor that imports
`SandboxedJob` inside a child loads neither Redis nor asyncio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toril.errors import (
        BulkAddFailed,
        Interrupted,
        InvalidInput,
        JobFailed,
        JobGone,
        RedisUnavailable,
        TorilError,
        Unrecoverable,
        WaitTimeout,
    )
    from toril.runtime.job import AsyncJob, Job
    from toril.runtime.limiter import RateLimit
    from toril.runtime.newjob import NewJob
    from toril.runtime.options import Backoff
    from toril.runtime.queue import AsyncQueue, Queue
    from toril.sandbox.job import SandboxedJob

__version__ = "0.1.0"

_HOMES = {
    "AsyncJob": "toril.runtime.job",
    "AsyncQueue": "toril.runtime.queue",
    "Backoff": "toril.runtime.options",
    "BulkAddFailed": "toril.errors",
    "Interrupted": "toril.errors",
    "InvalidInput": "toril.errors",
    "Job": "toril.runtime.job",
    "JobFailed": "toril.errors",
    "JobGone": "toril.errors",
    "NewJob": "toril.runtime.newjob",
    "Queue": "toril.runtime.queue",
    "RateLimit": "toril.runtime.limiter",
    "RedisUnavailable": "toril.errors",
    "SandboxedJob": "toril.sandbox.job",
    "TorilError": "toril.errors",
    "Unrecoverable": "toril.errors",
    "WaitTimeout": "toril.errors",
}

__all__ = [
    "AsyncJob",
    "AsyncQueue",
    "Backoff",
    "BulkAddFailed",
    "Interrupted",
    "InvalidInput",
    "Job",
    "JobFailed",
    "JobGone",
    "NewJob",
    "Queue",
    "RateLimit",
    "RedisUnavailable",
    "SandboxedJob",
    "TorilError",
    "Unrecoverable",
    "WaitTimeout",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'toril' has no attribute {name!r}")
    return getattr(import_module(home), name)
