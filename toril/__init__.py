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
    from toril.runtime.job import Backoff, Job
    from toril.runtime.queue import AsyncQueue, NewJob, Queue
    from toril.sandbox.job import SandboxedJob

__version__ = "0.1.0"

_HOMES = {
    "AsyncQueue": "toril.runtime.queue",
    "Backoff": "toril.runtime.job",
    "BulkAddFailed": "toril.errors",
    "Interrupted": "toril.errors",
    "InvalidInput": "toril.errors",
    "Job": "toril.runtime.job",
    "JobFailed": "toril.errors",
    "JobGone": "toril.errors",
    "NewJob": "toril.runtime.queue",
    "Queue": "toril.runtime.queue",
    "RedisUnavailable": "toril.errors",
    "SandboxedJob": "toril.sandbox.job",
    "TorilError": "toril.errors",
    "Unrecoverable": "toril.errors",
    "WaitTimeout": "toril.errors",
}

__all__ = [
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
