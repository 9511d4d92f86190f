"""The history of a job: what each of its last attempts came to, as it is written and as it is read.

An entry is made here without times; the script that writes it puts them in front. A change must
keep: an entry is bounded, whatever a child said, and holds no line break.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from toril.call import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from toril.call import Outcome
    from toril.runtime.claim import Claim

MAX_TEXT_CHARS = 1024
"""Longest text of one detail in an entry, characters; chosen: ten entries stay small."""

STALLED = "stalled"
"""The verdict of an attempt whose worker vanished; no `Verdict`, because nobody saw its end."""

_encode = msgspec.json.Encoder().encode

_OWN = ("pid", "stderr")
"""Details of an outcome that an entry shows as fields of its own."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Who runs an attempt: the worker's name and its machine's."""

    name: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that ended.

    Attributes:
        attempt: its number among those that started (`ats`).
        verdict: why it ended, as in `Verdict`, or `stalled`.
        started_ms: when it was claimed, by the server's clock; None when nobody noted it.
        ended_ms: when its end was recorded.
        worker: the name of its worker.
        host: the worker's machine; empty for a stalled one.
        pid: its child's process id; None when there was none, or nobody can say.
        usage: what it used; None for a stalled one.
        detail: what else is known of the end (signal, exit code, limit …).
        stderr: the last lines its child wrote there, when it crashed.
    """

    attempt: int
    verdict: str
    started_ms: int | None = None
    ended_ms: int | None = None
    worker: str = ""
    host: str = ""
    pid: int | None = None
    usage: Usage | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    stderr: str = ""


def entry(claim: Claim, outcome: Outcome, worker: Worker) -> str:
    """One line of `t:history`, JSON text of an object, without its times."""
    head = f'{{"attempt":{claim.attempts_started},"verdict":"{outcome.verdict.value}"'
    measured = usage_text(outcome.usage)[1:]
    return f"{head}{_worker_text(worker)}{_detail_text(outcome.detail)},{measured}"


def usage_text(usage: Usage) -> str:
    """What an attempt used, JSON text of an object; `null` where nobody measured."""
    # By hand: the numbers are ours, and an encoder takes five times as long for every job.
    return (
        f'{{"wall_ms":{usage.wall_ms},"cpu_ms":{_number(usage.cpu_ms)},'
        f'"rss_growth_bytes":{_number(usage.rss_growth_bytes)},'
        f'"peak_memory_bytes":{_number(usage.peak_memory_bytes)}}}'
    )


def json_text(value: Mapping[str, Any]) -> str:
    """JSON text of a flat object, whatever its texts hold."""
    try:
        return _encode(value).decode()
    except (UnicodeEncodeError, TypeError):  # a lone surrogate, or a number that is no JSON
        return json.dumps(dict(value))


def parse_history(text: str) -> tuple[Attempt, ...]:
    """The attempts of `t:history`, oldest first; lines that are none of ours are left out."""
    return tuple(_attempt(found) for line in text.split("\n") if (found := _object(line)))


def parse_usage(found: Mapping[str, Any]) -> Usage | None:
    """What an attempt used; None where nobody measured."""
    if not isinstance(found.get("wall_ms"), int):
        return None
    names = ("wall_ms", "cpu_ms", "rss_growth_bytes", "peak_memory_bytes")
    return Usage(*(found.get(name) for name in names))  # type: ignore[arg-type]  # as it was written


@cache
def _worker_text(worker: Worker) -> str:
    told = {"worker": worker.name, "host": worker.host}
    return "".join(f',"{name}":{json.dumps(value)}' for name, value in told.items() if value)


def _detail_text(detail: Mapping[str, str | int | float | bool]) -> str:
    """What of it an entry shows; in front a comma for each member."""
    told: dict[str, Any] = {}
    if (pid := detail.get("pid")) is not None:
        told["pid"] = pid
    if others := {name: _bounded(value) for name, value in detail.items() if name not in _OWN}:
        told["detail"] = others
    if stderr := str(detail.get("stderr", "")):
        told["stderr"] = stderr[-MAX_TEXT_CHARS:]
    return "," + json_text(told)[1:-1] if told else ""


def _bounded(value: object) -> object:
    return value[:MAX_TEXT_CHARS] if isinstance(value, str) else value


def _number(value: int | None) -> int | str:
    return "null" if value is None else value


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _attempt(found: Mapping[str, Any]) -> Attempt:
    detail = found.get("detail")
    return Attempt(
        attempt=_integer(found.get("attempt")) or 0,
        verdict=str(found.get("verdict", "")),
        started_ms=_integer(found.get("started_ms")),
        ended_ms=_integer(found.get("ended_ms")),
        worker=str(found.get("worker", "")),
        host=str(found.get("host", "")),
        pid=_integer(found.get("pid")),
        usage=parse_usage(found),
        detail=detail if isinstance(detail, dict) else {},
        stderr=str(found.get("stderr", "")),
    )


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
