"""Why an attempt may have ended without a result: what it declared, and which fault was there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

CONSEQUENCES_MS = 12_000
"""How long a fault has consequences; chosen: a socket's timeout of 5 s, the longest pause before
Redis is tried again, and a lock."""

DECLARED = {
    "raised": "raise",
    "unrecoverable": "give-up",
    "memory-error": "memory",
    "crashed": "crash",
    "exited": "exit",
    "timed-out": "hang",
}
"""Verdict → the harm of its own that explains it."""

TO_ITSELF = {"crashed": "child-kill", "timed-out": "child-stop", "stalled": "worker-kill"}
"""Verdict → the fault that explains it when it hit the attempt's own process."""

NEARBY = {
    "interrupted": ("supervisor-term",),
    "lost": ("zygote-kill",),
    "unavailable": ("zygote-kill", "child-kill", "child-stop"),
    "stalled": (
        *("supervisor-kill", "supervisor-stop", "supervisor-term", "redis-kill", "redis-stop"),
        *("client-kill", "reply-cut", "reset", "delay", "blackhole"),
    ),
}
"""Verdict → the faults that explain it when they were there shortly before."""


def cause_of(end: Sequence[Any], faults: Sequence[Sequence[Any]]) -> str | None:
    """What explains the end of an attempt, or None.

    Args:
        end: its verdict, when it ended, the pid in which it started (None if it did not get so
            far) and the harm it declared (None for none).
        faults: name, target, begin and end of each.
    """
    verdict, ended_ms, pid, harm = end
    if harm is not None and DECLARED.get(verdict) == harm:
        return f"its own {harm}"
    for name, target, on_ms, off_ms in faults:
        if not on_ms <= ended_ms <= off_ms + CONSEQUENCES_MS:
            continue
        is_hit = pid is None or str(pid) in target.split()
        if name in NEARBY.get(verdict, ()) or (TO_ITSELF.get(verdict) == name and is_hit):
            return f"{name} of {target}"
    return None
