"""The kinds of values that a configuration holds: text with units in, numbers out.

A flag and an environment variable give text where a file may give a number or a list; the same
kinds read both.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from pydantic import BeforeValidator, Strict, WithJsonSchema

from toril.errors import InvalidOption
from toril.runtime.options import KEEP_ALL, KeepRule
from toril.units import duration_ms, rate, size_bytes, whole


def _keep(value: Any) -> KeepRule:
    """`1000`, `"24h"`, `"1000,24h"`, or a table of `count` and `age`."""
    if isinstance(value, dict) and value.keys() <= {"count", "age"}:
        parts = [value[name] for name in ("count", "age") if name in value]
    else:
        parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else [value]
    counts: list[int] = []
    ages: list[float] = []
    with suppress(InvalidOption):
        counts = [whole(part) for part in parts if not _has_unit(part)]
        ages = [duration_ms(part) / 1000 for part in parts if _has_unit(part)]
    if not parts or len(counts) > 1 or len(ages) > 1 or len(counts) + len(ages) < len(parts):
        raise InvalidOption(
            f"rule is {value!r}; expected how many jobs stay, how long, or both: 1000, 24h, "
            "1000,24h"
        )
    return KeepRule(counts[0] if counts else KEEP_ALL, ages[0] if ages else None)


def _has_unit(part: Any) -> bool:
    return isinstance(part, str) and not part.isdecimal()


CORES = "cores"
"""As many children as this process may use CPU cores."""


Ends = tuple[int | str | None, int | str]
"""The least number of children (None: always as many) and the most."""


def _children(value: Any) -> Ends:
    """`4`, `"cores"`, `"1-8"`, or a table of `min` and `max`."""
    least, most = None, value
    if isinstance(value, dict) and value.keys() == {"min", "max"}:
        least, most = value["min"], value["max"]
    elif isinstance(value, str) and "-" in value:
        least, _, most = value.partition("-")
    try:
        return None if least is None else _number_of(least), _number_of(most)
    except InvalidOption:
        raise InvalidOption(
            f'value is {value!r}; expected a whole number, "cores", or {{ min = 1, max = 8 }}'
        ) from None


def _number_of(value: Any) -> int | str:
    return CORES if value == CORES else whole(value)


def _truth(value: Any) -> Any:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _names(value: Any) -> Any:
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


def _seconds(value: Any) -> float:
    return duration_ms(value) / 1000


def _rate(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    tokens, per_ms = rate(value)
    return {"tokens": tokens, "per": f"{per_ms}ms"}


DURATION = {"type": "string", "examples": ["30s", "1m30s", "250ms"]}
SIZE = {"type": "string", "examples": ["512MiB", "64kB"]}

Ms = Annotated[int, BeforeValidator(duration_ms), WithJsonSchema(DURATION)]
Seconds = Annotated[float, BeforeValidator(_seconds), WithJsonSchema(DURATION)]
Size = Annotated[int, BeforeValidator(size_bytes), WithJsonSchema(SIZE)]
Whole = Annotated[int, BeforeValidator(whole), WithJsonSchema({"type": "integer", "minimum": 0})]
Children = Annotated[
    Any,
    BeforeValidator(_children),
    WithJsonSchema(
        {"type": ["integer", "string", "object"], "examples": [4, CORES, {"min": 1, "max": 8}]}
    ),
]
Truth = Annotated[bool, BeforeValidator(_truth), Strict()]
Text = Annotated[str, Strict()]
Keep = Annotated[
    Any,
    BeforeValidator(_keep),
    WithJsonSchema({"type": ["integer", "string", "object"], "examples": [1000, "24h"]}),
]
Names = Annotated[tuple[Text, ...], BeforeValidator(_names)]
RATE = BeforeValidator(_rate)
"""Reads `"200/60s"` where a table is expected, too."""
