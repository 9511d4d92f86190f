"""The table between runtime and sandbox: what goes into a child, and what comes out.

Both are plain values. Job data and results are JSON text that nobody on this side parses. They are
structs, because each is made for every job: a frozen dataclass takes five times as long. None can
be part of a circle, so the garbage collector need not look at them.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


class Verdict(enum.Enum):
    """Why an attempt ended; exactly one for every attempt."""

    RETURNED = "returned"
    RAISED = "raised"
    UNRECOVERABLE = "unrecoverable"
    RESULT_INVALID = "result-invalid"
    RESULT_TOO_LARGE = "result-too-large"
    PROCESSOR_EXIT = "processor-exit"
    MEMORY_ERROR = "memory-error"
    TIMED_OUT = "timed-out"
    OVER_MEMORY = "over-memory"
    OVER_DISK = "over-disk"
    OVER_THREADS = "over-threads"
    CPU_LIMIT = "cpu-limit"
    UNREADABLE = "unreadable"
    DEFERRED_FAILURE = "deferred-failure"
    CANCELLED = "cancelled"
    DELAYED = "delayed"
    RATE_LIMITED = "rate-limited"
    WAITING_CHILDREN = "waiting-children"
    CRASHED = "crashed"
    EXITED = "exited"
    BROKE_PROTOCOL = "broke-protocol"
    DISCONNECTED = "disconnected"
    INTERRUPTED = "interrupted"
    LOST = "lost"
    LOCK_LOST = "lock-lost"
    UNAVAILABLE = "unavailable"
    IMPORT_FAILED = "import-failed"


class Call(msgspec.Struct, frozen=True, gc=False):
    """One attempt of one job, as a child gets it.

    Attributes:
        job_id: the job's id in its queue.
        name: the job's name; chooses the function when a processor is a mapping.
        header: JSON object, UTF-8, with `id name queue attempts_made attempts_started timestamp
            priority opts`.
        data: the job's data, UTF-8 JSON text exactly as it is in Redis, not parsed.
    """

    job_id: str
    name: str
    header: bytes
    data: bytes


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What one attempt used, as the supervisor measured it from outside.

    Attributes:
        wall_ms: from the call's frame to its outcome.
        cpu_ms: user and system time of the child process over the attempt (its CPU clock, or its
            rusage when it died); None when neither could be read, as where it died of its next
            call before the end of this one was heard.
        rss_growth_bytes: resident size after the attempt minus before it; None when the child
            was gone. A growth, not a peak: what was freed before the end is not in it.
        peak_memory_bytes: the child's largest resident size during the attempt (VmHWM after
            clear_refs), as the child itself reports it; None when it did not. An attempt that
            needs no more than the child had up to 50 ms before it is given that size.
    """

    wall_ms: int = 0
    cpu_ms: int | None = None
    rss_growth_bytes: int | None = None
    peak_memory_bytes: int | None = None


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """How one attempt ended: failure is a value.

    Attributes:
        verdict: the one reason.
        value: JSON text of the result; `null` unless the verdict is RETURNED.
        error_name: the exception's class name, empty when nothing was raised.
        message: one line for `failedReason`, truncated by whoever made it.
        stack: traceback text for `stacktrace`; empty when there is none.
        detail: what else is known (signal, exit_code, limit, rule, stderr …), flat JSON values;
            `delay_ms` with DELAYED and RATE_LIMITED; `backoff_ms` with RAISED where a back-off
            strategy answered (-1: no retry), `backoff_fault` where it could not.
        usage: what the attempt used.
    """

    verdict: Verdict
    value: bytes = b"null"
    error_name: str = ""
    message: str = ""
    stack: str = ""
    detail: Mapping[str, str | int | float | bool] = {}
    usage: Usage = Usage()
