"""What happens in a queue, as values: one class per event of BullMQ's stream, and their reading.

Reading is lenient: an entry with fields that mean nothing becomes an event with empty ones, and one
of an unknown name a `CustomEvent`; nothing that somebody writes into the stream stops the reader.
Source: the event stream as observed with bullmq 6.7 and 5.81.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toril.runtime.numbers import stored_number
from toril.runtime.reading import decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class AddedEvent:
    """A job was added. `id` is the entry's in the stream, in every event."""

    id: str
    job_id: str
    name: str


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """A job waits to run; `prev` is empty for a new one."""

    id: str
    job_id: str
    prev: str


@dataclass(frozen=True, slots=True)
class DelayedEvent:
    """A job waits until `due_ms`, epoch milliseconds."""

    id: str
    job_id: str
    due_ms: int


@dataclass(frozen=True, slots=True)
class WaitingChildrenEvent:
    """A job waits for its children; `prev` is empty for a new one."""

    id: str
    job_id: str
    prev: str


@dataclass(frozen=True, slots=True)
class ActiveEvent:
    """A worker has taken a job; BullMQ says `waiting` for `prev` wherever it was."""

    id: str
    job_id: str
    prev: str


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """A job told how far it is; `data` as it was given."""

    id: str
    job_id: str
    data: Any


@dataclass(frozen=True, slots=True)
class CompletedEvent:
    """A job completed; `returnvalue` as its processor returned it."""

    id: str
    job_id: str
    returnvalue: Any
    prev: str


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """A job failed for good."""

    id: str
    job_id: str
    failed_reason: str
    prev: str


@dataclass(frozen=True, slots=True)
class RetriesExhaustedEvent:
    """A job that failed had no attempts left; follows its `FailedEvent`."""

    id: str
    job_id: str
    attempts_made: int


@dataclass(frozen=True, slots=True)
class StalledEvent:
    """A job's worker went away; it waits again."""

    id: str
    job_id: str


@dataclass(frozen=True, slots=True)
class DrainedEvent:
    """The last job that could run has ended."""

    id: str


@dataclass(frozen=True, slots=True)
class PausedEvent:
    """The queue was paused."""

    id: str


@dataclass(frozen=True, slots=True)
class ResumedEvent:
    """The queue was resumed."""

    id: str


@dataclass(frozen=True, slots=True)
class RemovedEvent:
    """A job was removed; `prev` is where it was."""

    id: str
    job_id: str
    prev: str


@dataclass(frozen=True, slots=True)
class CleanedEvent:
    """Old jobs were removed, so many."""

    id: str
    count: int


@dataclass(frozen=True, slots=True)
class DuplicatedEvent:
    """A job was to be added under an id that is there."""

    id: str
    job_id: str


@dataclass(frozen=True, slots=True)
class DeduplicatedEvent:
    """Of two jobs with one deduplication id only `job_id` stays."""

    id: str
    job_id: str
    deduplication_id: str
    deduplicated_job_id: str


@dataclass(frozen=True, slots=True)
class DebouncedEvent:
    """What BullMQ 5 writes before each `DeduplicatedEvent`."""

    id: str
    job_id: str
    debounce_id: str


@dataclass(frozen=True, slots=True)
class CustomEvent:
    """Something that somebody else wrote into the stream.

    Attributes:
        id: the entry's.
        name: the event's; empty when it has none.
        fields: the others, as text.
    """

    id: str
    name: str
    fields: dict[str, str]


QueueEvent = (
    AddedEvent
    | WaitingEvent
    | DelayedEvent
    | WaitingChildrenEvent
    | ActiveEvent
    | ProgressEvent
    | CompletedEvent
    | FailedEvent
    | RetriesExhaustedEvent
    | StalledEvent
    | DrainedEvent
    | PausedEvent
    | ResumedEvent
    | RemovedEvent
    | CleanedEvent
    | DuplicatedEvent
    | DeduplicatedEvent
    | DebouncedEvent
    | CustomEvent
)


def parse_event(entry_id: str, stored: Mapping[bytes, bytes]) -> QueueEvent:
    """The event of one entry of the stream."""
    fields = {_text(name): value for name, value in stored.items()}
    name = _text(fields.pop("event", b""))
    parser = _PARSERS.get(name)
    if parser is None:
        return CustomEvent(entry_id, name, {key: _text(value) for key, value in fields.items()})
    kind, members = parser
    return kind(entry_id, *(read(fields.get(field, b"")) for field, read in members))


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _number(value: bytes) -> int:
    return stored_number(value) or 0


_JOB = ("jobId", _text)
_PREV = ("prev", _text)

_PARSERS: dict[
    str, tuple[Callable[..., QueueEvent], tuple[tuple[str, Callable[[bytes], Any]], ...]]
] = {
    "added": (AddedEvent, (_JOB, ("name", _text))),
    "waiting": (WaitingEvent, (_JOB, _PREV)),
    "delayed": (DelayedEvent, (_JOB, ("delay", _number))),
    "waiting-children": (WaitingChildrenEvent, (_JOB, _PREV)),
    "active": (ActiveEvent, (_JOB, _PREV)),
    "progress": (ProgressEvent, (_JOB, ("data", decoded))),
    "completed": (CompletedEvent, (_JOB, ("returnvalue", decoded), _PREV)),
    "failed": (FailedEvent, (_JOB, ("failedReason", _text), _PREV)),
    "retries-exhausted": (RetriesExhaustedEvent, (_JOB, ("attemptsMade", _number))),
    "stalled": (StalledEvent, (_JOB,)),
    "drained": (DrainedEvent, ()),
    "paused": (PausedEvent, ()),
    "resumed": (ResumedEvent, ()),
    "removed": (RemovedEvent, (_JOB, _PREV)),
    "cleaned": (CleanedEvent, (("count", _number),)),
    "duplicated": (DuplicatedEvent, (_JOB,)),
    "deduplicated": (
        DeduplicatedEvent,
        (_JOB, ("deduplicationId", _text), ("deduplicatedJobId", _text)),
    ),
    "debounced": (DebouncedEvent, (_JOB, ("debounceId", _text))),
}
"""BullMQ's name of an event: its class, and for each member the field and how it is read."""

KNOWN_EVENTS = frozenset(_PARSERS)
"""Events that queues and workers send; others are custom ones."""
