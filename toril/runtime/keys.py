"""Names that become keys in Redis: queue names, prefixes, job ids, client names; pure.

A name is refused here when BullMQ could not read it, or when it would take the key of something
else. A change must keep: whatever passes can never collide with a key of BullMQ or of ours.
Source: key names as observed with bullmq 6.7 and 5.81.
"""

from __future__ import annotations

import base64
import re

from toril.errors import InvalidInput, InvalidJobId, InvalidOption, InvalidQueueName
from toril.sizes import MAX_NAME_BYTES

DEFAULT_PREFIX = "bull"
"""BullMQ's own default, so that both sides meet without a setting."""

RESERVED_IDS = frozenset(
    {
        *("id", "wait", "prioritized", "delayed", "waiting-children", "active", "completed"),
        *("failed", "paused", "stalled", "stalled-check", "limiter", "meta", "pc", "marker"),
        *("events", "repeat", "de", "dn", "metrics", "toril"),
    }
)
"""Key suffixes of a queue: a job with such an id would take the place of the queue's own key.

`de`, `dn`, `repeat`, `metrics` and `toril` begin keys with a further segment, which a job's
sub-keys (`:lock`, `:logs` …) could meet.
"""

_INTEGER = re.compile(r"0|-?[1-9][0-9]*")


def check_queue_name(name: str) -> str:
    """The name itself, if it can name a queue.

    Raises:
        InvalidQueueName: not text, empty, or with `:`, which separates the parts of a key.
    """
    if not isinstance(name, str) or not name.strip():
        raise InvalidQueueName(f"queue name is {name!r}; expected text, such as 'image-optimize'")
    if ":" in name:
        hint = re.sub(":+", "-", name).strip("-") or "image-optimize"
        raise InvalidQueueName(
            f"queue name {name!r} contains ':', which BullMQ uses to separate the parts of a key; "
            f"use {hint!r}"
        )
    if not _is_encodable(name):
        raise InvalidQueueName(f"queue name {name!r} holds a lone surrogate; expected valid text")
    return name


def check_prefix(prefix: str) -> str:
    """The prefix itself; `:` and hash-tag braces are allowed in it.

    Raises:
        InvalidOption: not text, or empty.
    """
    if not isinstance(prefix, str) or not prefix or not _is_encodable(prefix):
        raise InvalidOption(f"prefix is {prefix!r}; expected text, such as {DEFAULT_PREFIX!r}")
    return prefix


def check_job_id(job_id: str) -> str:
    """The id itself, if a caller may choose it.

    Raises:
        InvalidJobId: not text, empty, an integer (those are the automatic ids), with `:`, or the
            name of one of the queue's own keys.
    """
    if not isinstance(job_id, str) or not job_id or not _is_encodable(job_id):
        raise InvalidJobId(f"job id is {job_id!r}; expected text, such as 'invoice-{job_id or 7}'")
    if len(job_id.encode()) > MAX_NAME_BYTES:
        raise InvalidJobId(f"job id {job_id[:40]!r}... is longer than {MAX_NAME_BYTES} bytes")
    if _INTEGER.fullmatch(job_id):
        raise InvalidJobId(
            f"job id {job_id!r} is an integer, which would collide with automatic ids; "
            f"put a word in front, such as 'job-{job_id}'"
        )
    if ":" in job_id:
        raise InvalidJobId(
            f"job id {job_id!r} contains ':', which separates the parts of a key; "
            f"use {job_id.replace(':', '-')!r}"
        )
    if job_id in RESERVED_IDS:
        raise InvalidJobId(
            f"job id {job_id!r} is the name of one of the queue's own keys; "
            f"use another, such as 'job-{job_id}'"
        )
    return job_id


def is_job_id(job_id: str) -> bool:
    """Can there be a job of this id?

    Raises:
        InvalidInput: not text, or empty.
    """
    if not isinstance(job_id, str) or not job_id:
        raise InvalidInput(f"job id is {job_id!r}; expected text, such as '42'")
    return job_id not in RESERVED_IDS and _is_encodable(job_id)


def key_base(prefix: str, queue: str) -> str:
    """`P:Q:`, with which every key of the queue begins."""
    return f"{check_prefix(prefix)}:{check_queue_name(queue)}:"


def client_name(prefix: str, queue: str, worker_name: str = "") -> str:
    """Name of a worker's blocking connection, by which BullMQ's `getWorkers` finds it."""
    name = f"{prefix}:{base64.b64encode(queue.encode()).decode()}"
    return f"{name}:w:{worker_name}" if worker_name else name


def _is_encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
