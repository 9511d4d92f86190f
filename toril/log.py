"""The one place where events become words: a line of text or of JSON each.

The table at the end names level and wording of every event; nothing else in the house logs.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TextIO

from toril import events as ev
from toril.units import format_ms

if TYPE_CHECKING:
    from collections.abc import Callable


class Log:
    """Writes events as lines to a stream; call it with an event.

    Args:
        stream: where lines go; standard error by default, standard output is for data.
        as_json: one JSON object a line, with `time`, `level`, `event`, the event's fields and
            `message`; else `HH:MM:SS LEVEL message`.
    """

    def __init__(self, stream: TextIO | None = None, *, as_json: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._as_json = as_json

    def __call__(self, event: ev.Event) -> None:
        """Write one event; a stream that is gone (closed pipe) silences the log, not the work."""
        level, words = _WORDS[type(event)]
        line = (
            self._json(event, level, words(event)) if self._as_json else _text(level, words(event))
        )
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return

    @staticmethod
    def _json(event: ev.Event, level: str, message: str) -> str:
        record = {"time": round(time.time(), 3), "level": level, "event": event_name(event)}
        return json.dumps(record | asdict(event) | {"message": message})


def event_name(event: ev.Event) -> str:
    """`JobSettled` → `job-settled`."""
    name = type(event).__name__
    return "".join("-" + c.lower() if c.isupper() else c for c in name).lstrip("-")


def _text(level: str, message: str) -> str:
    return f"{time.strftime('%H:%M:%S')} {level:<7} {message}"


def _settled(e: ev.JobSettled) -> str:
    cpu = "" if e.cpu_ms is None else f", cpu {format_ms(e.cpu_ms)}"
    reason = f": {e.reason}" if e.reason else ""
    return (
        f"{e.queue} job {e.job_id} {e.name} attempt {e.attempt} {e.verdict} -> {e.settled} "
        f"(waited {format_ms(e.wait_ms)}, ran {format_ms(e.run_ms)}{cpu}){reason}"
    )


def _started(e: ev.WorkerStarted) -> str:
    return (
        f"{e.queue}: {e.concurrency} children run {e.processor} at level `{e.isolation}`"
        f"{_LEVEL_WORDS.get(e.isolation, '')}, jobs from {e.redis}"
    )


def _paused(e: ev.ClaimingPaused) -> str:
    return f"{e.queue}: claiming is paused: {e.reason}" + (f". {e.remedy}" if e.remedy else "")


def _refused(e: ev.QueueRefused) -> str:
    return (
        f"{e.queue}: the next job, {e.job_id}, {_FIELD_WORDS.get(e.field, e.field)}, which this "
        "version cannot work yet; it stays where it is and nothing more is claimed. "
        "Let a BullMQ worker take this queue"
    )


def _drain(e: ev.Draining) -> str:
    return f"{e.queue}: stopping; {e.running} running jobs have {format_ms(e.timeout_ms)} to end"


_LEVEL_WORDS = {"process": " (against crashes, leaks and loops; no security claim)"}
_FIELD_WORDS = {
    "rjk": "belongs to a job scheduler (rjk)",
    "parentKey": "is a flow's child (parentKey)",
}

_WORDS: dict[type, tuple[str, Callable[[Any], str]]] = {
    ev.WorkerStarted: ("INFO", _started),
    ev.LimitDiffers: (
        "WARNING",
        lambda e: (
            f"{e.queue}: the rate limit in Redis is {e.in_force}, configured is {e.configured}; "
            "Redis' applies. Set it with Queue.set_rate_limit, or raise the configured revision"
        ),
    ),
    ev.JobSettled: ("INFO", _settled),
    ev.JobOutput: ("INFO", lambda e: f"{e.queue} job {e.job_id or '-'} {e.stream}: {e.line}"),
    ev.LockLost: (
        "WARNING",
        lambda e: f"{e.queue} job {e.job_id}: lock lost; its child is killed, its result refused",
    ),
    ev.SettlementRefused: (
        "ERROR",
        lambda e: f"{e.queue} job {e.job_id}: end of attempt ({e.verdict}) not written: {e.reason}",
    ),
    ev.ReportRefused: (
        "WARNING",
        lambda e: f"{e.queue} job {e.job_id}: progress or log not written: {e.reason}",
    ),
    ev.RedisFailed: ("ERROR", lambda e: f"{e.queue}: {e.what} fails: {e.reason}"),
    ev.UpkeepFailed: (
        "ERROR",
        lambda e: f"{e.queue}: looking for stalled jobs fails: {e.reason}",
    ),
    ev.GhostsRemoved: (
        "WARNING",
        lambda e: f"{e.queue}: removed {e.count} ids without a job from the queue",
    ),
    ev.StalledRecovered: (
        "WARNING",
        lambda e: f"{e.queue}: stalled jobs are back in the queue: {', '.join(e.job_ids)}",
    ),
    ev.ChildGone: ("WARNING", lambda e: f"{e.queue}: child {e.pid} {e.how}"),
    ev.ClaimingPaused: ("ERROR", _paused),
    ev.ClaimingResumed: ("INFO", lambda e: f"{e.queue}: claiming goes on"),
    ev.QueueRefused: ("ERROR", _refused),
    ev.RedisLost: (
        "ERROR",
        lambda e: f"{e.queue}: no Redis: {e.reason}; running jobs go on, trying again",
    ),
    ev.RedisBack: (
        "INFO",
        lambda e: f"{e.queue}: Redis is back after {format_ms(e.away_ms)}, {e.held} jobs held",
    ),
    ev.Draining: ("INFO", _drain),
    ev.DrainDeadline: (
        "WARNING",
        lambda e: f"{e.queue}: time is over; {e.running} running jobs go back to the queue",
    ),
    ev.Unrecorded: (
        "ERROR",
        lambda e: (
            f"{e.queue}: stopped without Redis; not recorded, will run again: "
            f"{', '.join(e.job_ids)}"
        ),
    ),
    ev.WorkerStopped: ("INFO", lambda e: f"{e.queue}: stopped after {e.settled} attempts"),
}
