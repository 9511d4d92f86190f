"""What commands write: data to standard output, as text for people or as JSON; words to stderr.

A change must keep: text of others (names, errors, ids) never reaches a terminal as it is.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from toril.errors import InvalidJobData
from toril.visible import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CELL = 60
"""Longest cell of a table but the last; chosen: a line per job stays readable."""


def visible_lines(text: str) -> str:
    """Text of others on as many lines as it has, none of which steers a terminal."""
    return "\n".join(visible(line) for line in text.rstrip("\n").split("\n"))


def put(text: str) -> None:
    """A line of data for people."""
    sys.stdout.write(text + "\n")


def put_json(record: Any) -> None:
    """A record as one line of JSON; ASCII, which no terminal obeys.

    Raises:
        InvalidJobData: a job's data is nested deeper than can be written.
    """
    try:
        text = json.dumps(_plain(record), default=_plain)
    except RecursionError:
        raise InvalidJobData("what is to be shown is nested too deeply for JSON") from None
    if "NaN" in text or "Infinity" in text:  # Python's words for what JSON does not have.
        text = json.dumps(json.loads(text, parse_constant=str))
    sys.stdout.write(text + "\n")


def say(text: str) -> None:
    """A line about the data."""
    sys.stderr.write(visible_lines(text) + "\n")


def time_of(ms: int | None) -> str:
    """Epoch milliseconds as ISO 8601 in UTC, or `?`."""
    try:
        moment = None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):  # Another program's number.
        moment = None
    return "?" if moment is None else moment.isoformat(timespec="milliseconds")


class Table:
    """Rows as aligned text; widths grow with what has come, so that rows need not be held.

    Args:
        columns: their names.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._widths = [len(name) for name in columns]
        self._has_head = False

    def add(self, rows: Sequence[Sequence[str]]) -> None:
        """Write some rows, below a head the first time."""
        shown = [[visible(cell) for cell in row] for row in rows]
        shown = [[*(_cut(cell) for cell in row[:-1]), row[-1]] for row in shown]
        for row in shown:
            self._widths = [max(*pair) for pair in zip(self._widths, map(len, row), strict=True)]
        if not self._has_head:
            self._has_head = True
            shown.insert(0, list(self._columns))
        for row in shown:
            cells = zip(row, self._widths, strict=True)
            put("  ".join(cell.ljust(width) for cell, width in cells).rstrip())


def _cut(cell: str) -> str:
    return cell if len(cell) <= MAX_CELL else cell[: MAX_CELL - 1] + "…"


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value if isinstance(value, dict) else str(value)
