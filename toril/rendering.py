"""The forms of a log entry: a line of text, a line of JSON, an entry of the journal; pure.

Each takes an event, its level and its words, and gives the bytes that are written.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from toril import journal
from toril.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from toril.events import Event
    from toril.lifecycle import Told

    Form: TypeAlias = Callable[[Event, str, str], bytes]

_PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3}
"""Level → the journal's priority. Source: syslog(3)."""

_JOURNAL_NAMES = {"job_id": "JOB", "job_ids": "JOB", "correlation_id": "CORRELATION"}
"""Fields of events that the journal has under a shorter name."""


def as_text(_event: Event, level: str, message: str) -> bytes:
    """`HH:MM:SS LEVEL message`."""
    return line(f"{time.strftime('%H:%M:%S')} {level:<7} {message}")


def as_json(event: Event, level: str, message: str) -> bytes:
    """`time`, `level`, `event`, the event's fields and `message`, in one line."""
    kind: type = type(event)
    record = {"time": round(time.time(), 3), "level": level, "event": _name(kind)}
    record |= {name: getattr(event, name) for name in field_names(kind)}
    record["message"] = message
    return json.dumps(record, default=asdict).encode() + b"\n"


def as_journal(event: Event, level: str, message: str) -> bytes:
    """Fields `MESSAGE`, `PRIORITY`, `TORIL_EVENT`, and `TORIL_…` of what the event says.

    A field that holds several values is there several times, each of which finds the entry.
    """
    kind: type = type(event)
    told = [*_own_fields(level, message), ("TORIL_EVENT", _name(kind))]
    for name in field_names(kind):
        value = getattr(event, name)
        many = value if isinstance(value, tuple) else (value,)
        told += [(journal_name(name), str(one)) for one in many if one is not None and one != ""]
    return journal.entry(told)


def said_to_journal(message: str) -> bytes:
    """An entry without an event: the last words of a command."""
    return journal.entry(_own_fields("ERROR", message))


def line(text: str) -> bytes:
    """The text as a line, with everything visible that ends lines or commands terminals.

    Names, ids, errors and output are other people's text; none of it may forge a line.
    """
    return visible(text).encode(errors="backslashreplace") + b"\n"


def event_name(event: Event) -> str:
    """`JobSettled` → `job-settled`."""
    kind: type = type(event)
    return _name(kind)


@cache
def _name(kind: type) -> str:
    return "".join("-" + c.lower() if c.isupper() else c for c in kind.__name__).lstrip("-")


def field_names(kind: type[Told]) -> tuple[str, ...]:
    """What an event of this kind says."""
    return kind.__struct_fields__


def journal_name(field: str) -> str:
    """`job_id` → `TORIL_JOB`, `wait_ms` → `TORIL_WAIT_MS`."""
    return "TORIL_" + _JOURNAL_NAMES.get(field, field.upper())


def _own_fields(level: str, message: str) -> list[tuple[str, str]]:
    """MESSAGE comes first and is one line: what cannot be sent is written as that."""
    return [
        ("MESSAGE", visible(message)),
        ("PRIORITY", str(_PRIORITIES[level])),
        ("SYSLOG_IDENTIFIER", "toril"),
    ]
