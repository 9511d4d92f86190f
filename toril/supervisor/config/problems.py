"""What is wrong with a configuration, in the words of who wrote it; pure.

Each line begins with the place: a flag, a variable, or a file with its line and the setting.
"""

from __future__ import annotations

import copy
import difflib
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from toril.redaction import MASK, redactor
from toril.supervisor.config.layers import Merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import ValidationError

    from toril.supervisor.config.toml_file import Keys

_EXPECTED = {
    "dict_type": "a table",
    "model_type": "a table",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list of texts",
}
"""Kind of refusal → what TOML calls that which was expected."""

_without_logins = redactor(())

STAND_IN = "stand_in:attribute"
"""Stands for a missing text while the rest is looked at; given: a processor's form."""


def schema_problems(error: ValidationError, merged: Merged, schema: type[BaseModel]) -> list[str]:
    """Everything that the schema refuses."""
    told: dict[str, None] = {}
    for found in error.errors(include_url=False):
        keys = _keys(found["loc"], merged)
        told[_words(found["type"], found["msg"], keys, merged, schema)] = None
    return list(told)


def without_problems(error: ValidationError, merged: Merged) -> Merged:
    """The rest, so that it can be looked at too; what is missing stands there as a stand-in."""
    values = copy.deepcopy(dict(merged.values))
    for found in error.errors(include_url=False):
        *around, last = _keys(found["loc"], merged)
        table = _value(values, tuple(around))
        if found["type"] in {"missing", "string_type"}:
            table[last] = STAND_IN
        elif isinstance(table, dict):
            table.pop(last, None)
    return Merged(values, merged.layers)


def value_problems(problems: Iterable[str], places: dict[str, Keys], merged: Merged) -> list[str]:
    """What a value that was made of settings refuses: field names become settings.

    Args:
        problems: each begins with the name of a field.
        places: field → its setting.
        merged: where those came from.
    """
    return [_placed(problem, places, merged) for problem in problems]


def settings_of_fields(schema: type[BaseModel], around: Keys = ()) -> Iterator[tuple[str, Keys]]:
    """(field, setting's keys) of a table and those in it."""
    for name, field in schema.model_fields.items():
        keys = (*around, field.alias or name)
        yield name, keys
        if (inner := _table_in(field.annotation)) is not None:
            yield from settings_of_fields(inner, keys)


def _words(kind: str, message: str, keys: Keys, merged: Merged, schema: type[BaseModel]) -> str:
    subject = merged.subject(keys)
    if kind == "missing":
        return f"{subject} is missing; expected {_described(schema, keys)}"
    if kind == "extra_forbidden":
        return f"{subject}: there is no such setting{_did_you_mean(schema, keys)}"
    _, _, expected = message.partition("; expected ")
    expected = expected or _EXPECTED.get(kind) or message.replace("Input should be ", "")
    return f"{subject} is {_quoted(_value(merged.values, keys), keys)}; expected {expected}"


def _placed(problem: str, places: dict[str, Keys], merged: Merged) -> str:
    name = problem.partition(" ")[0]
    keys = places.get(name)
    if keys is None:
        return problem
    what, expected, rest = problem.partition("; expected")
    subject = merged.subject(keys)
    typed = _value(merged.values, keys)
    if what.startswith(name + " is ") and isinstance(typed, str | int):
        return f"{subject} is {_quoted(typed, keys)}{expected}{rest}"
    return subject + problem.removeprefix(name)


def _quoted(value: Any, keys: Keys) -> str:
    """A refused value, without what may be a password: a server's is in any part of it."""
    if keys == ("redis",) and not isinstance(value, int):
        shapes: dict[type, str] = {dict: "a table", list: "a list"}
        return shapes.get(type(value)) or (MASK if "@" in str(value) else repr(value))
    return _without_logins(repr(value))


def _keys(location: tuple[int | str, ...], merged: Merged) -> Keys:
    """A place as pydantic tells it, without the alternatives of a kind that it tried."""
    keys: Keys = ()
    for part in location:
        if not isinstance(part, str):
            break
        is_there = _value(merged.values, (*keys, part)) is not None
        if not is_there and part is not location[-1]:
            break
        if not is_there and not isinstance(_value(merged.values, keys), dict):
            break
        keys = (*keys, part)
    return keys


def _value(values: Any, keys: Keys) -> Any:
    for name in keys:
        values = values.get(name) if isinstance(values, dict) else None
    return values


def _table_at(schema: type[BaseModel], keys: Keys) -> type[BaseModel] | None:
    """The table of these keys; any name of a queue opens a queue's."""
    table: type[BaseModel] | None = schema
    names = iter(keys)
    for name in names:
        field = _field(table, name) if table is not None else None
        if field is None:
            return None
        table = _table_in(field.annotation)
        if "dict" in str(field.annotation):
            next(names, None)
    return table


def _field(table: type[BaseModel], name: str) -> Any:
    for field_name, field in table.model_fields.items():
        if name == (field.alias or field_name):
            return field
    return None


def _table_in(annotation: Any) -> type[BaseModel] | None:
    """The table that a field holds, or holds many of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if (table := _table_in(inner)) is not None:
            return table
    return None


def _described(schema: type[BaseModel], keys: Keys) -> str:
    table = _table_at(schema, keys[:-1])
    field = _field(table, keys[-1]) if table is not None else None
    return (field.description if field is not None else None) or "a value"


def _did_you_mean(schema: type[BaseModel], keys: Keys) -> str:
    table = _table_at(schema, keys[:-1])
    known = [f.alias or name for name, f in table.model_fields.items()] if table else []
    for _, place in settings_of_fields(schema):
        if place[-1] == keys[-1]:
            return f" here; it belongs to {'.'.join(place).replace('queues', 'queues.NAME', 1)}"
    if close := difflib.get_close_matches(keys[-1], known, 1, 0.6):
        return f"; did you mean {close[0]}?"
    return f"; expected one of {', '.join(sorted(known))}" if known else ""
