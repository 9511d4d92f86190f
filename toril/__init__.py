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
        Cancelled,
        Delayed,
        Interrupted,
        InvalidInput,
        JobFailed,
        JobGone,
        JobLocked,
        JobNotInState,
        JobNotRemovable,
        ParentGone,
        ParentTaken,
        QueueActive,
        RateLimited,
        RedisUnavailable,
        SoftTimeout,
        TorilError,
        Unrecoverable,
        WaitingChildren,
        WaitTimeout,
    )
    from toril.runtime.dependencies import Dependencies
    from toril.runtime.following import AsyncQueueEvents, QueueEvents
    from toril.runtime.job import AsyncJob, Job
    from toril.runtime.limiter import RateLimit
    from toril.runtime.newjob import NewJob
    from toril.runtime.options import Backoff, KeepRule
    from toril.runtime.publishing import AsyncQueueEventsProducer, QueueEventsProducer
    from toril.runtime.queue import AsyncQueue, Queue
    from toril.runtime.queue_events import (
        ActiveEvent,
        AddedEvent,
        CleanedEvent,
        CompletedEvent,
        CustomEvent,
        DebouncedEvent,
        DeduplicatedEvent,
        DelayedEvent,
        DrainedEvent,
        DuplicatedEvent,
        FailedEvent,
        PausedEvent,
        ProgressEvent,
        QueueEvent,
        RemovedEvent,
        ResumedEvent,
        RetriesExhaustedEvent,
        StalledEvent,
        WaitingChildrenEvent,
        WaitingEvent,
    )
    from toril.runtime.ties import Deduplication, Parent
    from toril.sandbox.job import SandboxedJob
    from toril.telemetry import Telemetry

__version__ = "0.1.0"

_HOMES = {
    "ActiveEvent": "toril.runtime.queue_events",
    "AddedEvent": "toril.runtime.queue_events",
    "AsyncJob": "toril.runtime.job",
    "AsyncQueue": "toril.runtime.queue",
    "AsyncQueueEvents": "toril.runtime.following",
    "AsyncQueueEventsProducer": "toril.runtime.publishing",
    "Backoff": "toril.runtime.options",
    "BulkAddFailed": "toril.errors",
    "Cancelled": "toril.errors",
    "Delayed": "toril.errors",
    "CleanedEvent": "toril.runtime.queue_events",
    "CompletedEvent": "toril.runtime.queue_events",
    "CustomEvent": "toril.runtime.queue_events",
    "DebouncedEvent": "toril.runtime.queue_events",
    "DeduplicatedEvent": "toril.runtime.queue_events",
    "DelayedEvent": "toril.runtime.queue_events",
    "Dependencies": "toril.runtime.dependencies",
    "DrainedEvent": "toril.runtime.queue_events",
    "DuplicatedEvent": "toril.runtime.queue_events",
    "FailedEvent": "toril.runtime.queue_events",
    "Deduplication": "toril.runtime.ties",
    "Interrupted": "toril.errors",
    "InvalidInput": "toril.errors",
    "Job": "toril.runtime.job",
    "JobFailed": "toril.errors",
    "JobGone": "toril.errors",
    "JobLocked": "toril.errors",
    "JobNotInState": "toril.errors",
    "JobNotRemovable": "toril.errors",
    "KeepRule": "toril.runtime.options",
    "NewJob": "toril.runtime.newjob",
    "PausedEvent": "toril.runtime.queue_events",
    "ProgressEvent": "toril.runtime.queue_events",
    "Parent": "toril.runtime.ties",
    "ParentGone": "toril.errors",
    "ParentTaken": "toril.errors",
    "Queue": "toril.runtime.queue",
    "QueueActive": "toril.errors",
    "QueueEvent": "toril.runtime.queue_events",
    "QueueEvents": "toril.runtime.following",
    "QueueEventsProducer": "toril.runtime.publishing",
    "RateLimited": "toril.errors",
    "SoftTimeout": "toril.errors",
    "RateLimit": "toril.runtime.limiter",
    "RedisUnavailable": "toril.errors",
    "RemovedEvent": "toril.runtime.queue_events",
    "ResumedEvent": "toril.runtime.queue_events",
    "RetriesExhaustedEvent": "toril.runtime.queue_events",
    "SandboxedJob": "toril.sandbox.job",
    "StalledEvent": "toril.runtime.queue_events",
    "Telemetry": "toril.telemetry",
    "TorilError": "toril.errors",
    "Unrecoverable": "toril.errors",
    "WaitingChildren": "toril.errors",
    "WaitTimeout": "toril.errors",
    "WaitingChildrenEvent": "toril.runtime.queue_events",
    "WaitingEvent": "toril.runtime.queue_events",
}

__all__ = [
    "ActiveEvent",
    "AddedEvent",
    "AsyncJob",
    "AsyncQueue",
    "AsyncQueueEvents",
    "AsyncQueueEventsProducer",
    "Backoff",
    "BulkAddFailed",
    "Cancelled",
    "CleanedEvent",
    "CompletedEvent",
    "CustomEvent",
    "DebouncedEvent",
    "DeduplicatedEvent",
    "Deduplication",
    "Delayed",
    "DelayedEvent",
    "Dependencies",
    "DrainedEvent",
    "DuplicatedEvent",
    "FailedEvent",
    "Interrupted",
    "InvalidInput",
    "Job",
    "JobFailed",
    "JobGone",
    "JobLocked",
    "JobNotInState",
    "JobNotRemovable",
    "KeepRule",
    "NewJob",
    "Parent",
    "ParentGone",
    "ParentTaken",
    "PausedEvent",
    "ProgressEvent",
    "Queue",
    "QueueActive",
    "QueueEvent",
    "QueueEvents",
    "QueueEventsProducer",
    "RateLimit",
    "RateLimited",
    "RedisUnavailable",
    "RemovedEvent",
    "ResumedEvent",
    "RetriesExhaustedEvent",
    "SandboxedJob",
    "SoftTimeout",
    "StalledEvent",
    "Telemetry",
    "TorilError",
    "Unrecoverable",
    "WaitTimeout",
    "WaitingChildren",
    "WaitingChildrenEvent",
    "WaitingEvent",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'toril' has no attribute {name!r}")
    return getattr(import_module(home), name)
