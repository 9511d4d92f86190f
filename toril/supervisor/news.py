"""What happens in a worker in the listeners' words: the fields of an event, and their JSON text.

The counterpart of the classes in `toril/listeners.py`, which the listeners' child makes of it.
What a job reported or returned goes in as the text it is; nothing is built out of it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from toril import events as ev
from toril.call import Verdict
from toril.listeners import MAX_VALUE_BYTES
from toril.rendering import event_name
from toril.runtime.retry import Complete, Fail, Retry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toril.runtime.claim import Claim
    from toril.runtime.store import Ending

News = dict[str, Any]
"""The fields of one event, its name as `event`."""

_encode = msgspec.json.Encoder().encode

_TROUBLES = (
    ev.RedisLost,
    ev.RedisFailed,
    ev.UpkeepFailed,
    ev.ClaimingPaused,
    ev.SettlementRefused,
    ev.ReportRefused,
    ev.LockLost,
    ev.Unrecorded,
)
"""Log events that are an `error` for listeners."""

_WORDS = {ev.LockLost: "the lock is somebody else's", ev.Unrecorded: "stopped without Redis"}
"""The reason of those that have no field for one."""


def text(news: News) -> str:
    """JSON text of an event, for the child that makes a value of it."""
    return _encode(news).decode()


def active(queue: str, claim: Claim) -> News:
    """An attempt began."""
    return _about("active", queue, claim)


def progress(queue: str, claim: Claim, value: bytes) -> News:
    """A running job reported progress, JSON text."""
    return _about("progress", queue, claim) | {"progress": msgspec.Raw(value)}


def endings(queue: str, ending: Ending) -> Iterator[News]:
    """An attempt ended and Redis has it; nothing where the job goes back without a failure."""
    match ending.settlement:
        case Complete():
            yield _completed(queue, ending)
        case Fail(reason=reason):
            yield from _failed(queue, ending, reason, None)
        case Retry(reason=reason, delay_ms=delay_ms):
            yield from _failed(queue, ending, reason, delay_ms)


def overheard(event: ev.Event) -> Iterator[News]:
    """What a log event means for listeners: mostly nothing."""
    if isinstance(event, ev.StalledRecovered):
        for job_id in event.job_ids:
            about = {"event": "stalled", "queue": event.queue, "job_id": _clean(job_id)}
            yield about | {"at_ms": _now_ms()}
    elif isinstance(event, _TROUBLES):
        yield {
            "event": "error",
            "queue": event.queue,
            "at_ms": _now_ms(),
            "what": event_name(event),
            "reason": _clean(getattr(event, "reason", "") or _WORDS.get(type(event), "")),
            "job_id": _clean(getattr(event, "job_id", "")),
        }


def _completed(queue: str, ending: Ending) -> News:
    value = ending.outcome.value
    is_left_out = len(value) > MAX_VALUE_BYTES
    return _about("completed", queue, ending.claim) | {
        "returnvalue": None if is_left_out else msgspec.Raw(value),
        "is_left_out": is_left_out,
        "run_ms": ending.outcome.usage.wall_ms,
    }


def _failed(queue: str, ending: Ending, reason: str, delay_ms: int | None) -> Iterator[News]:
    outcome = ending.outcome
    shared = {
        "reason": _clean(reason),
        "is_retried": delay_ms is not None,
        "run_ms": outcome.usage.wall_ms,
    }
    if outcome.verdict is Verdict.TIMED_OUT:
        yield _about("timeout", queue, ending.claim) | shared
    yield (
        _about("failed", queue, ending.claim)
        | shared
        | {
            "verdict": outcome.verdict.value,
            "error_name": _clean(outcome.error_name),
            "delay_ms": delay_ms or 0,
        }
    )


def _about(event: str, queue: str, claim: Claim) -> News:
    return {
        "event": event,
        "queue": queue,
        "job_id": _clean(claim.id),
        "name": _clean(claim.name),
        "attempt": claim.attempts_started,
        "at_ms": _now_ms(),
    }


def _clean(found: str) -> str:
    """What another program left in Redis, as text that always encodes."""
    return found.encode(errors="replace").decode()


def _now_ms() -> int:
    return round(time.time() * 1000)
