"""A TOML file as values, and the line on which each of them stands.

The standard parser keeps no positions. Here it reads the file once as a whole, which decides
whether it is TOML at all, and then statement by statement, which tells where each one begins: a
table's header, or a key with its value, is a small document of its own.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toril.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Keys = tuple[str, ...]
"""Where a value stands: the names of the tables around it, and its own."""

PYPROJECT = "pyproject.toml"
_IN_PYPROJECT: Keys = ("tool", "toril")


@dataclass(frozen=True, slots=True)
class TomlFile:
    """What a file says.

    Attributes:
        name: the file's, for messages.
        values: nested tables.
        lines: keys → the line of the statement that gives them, from 1.
    """

    name: str
    values: Mapping[str, Any]
    lines: Mapping[Keys, int] = field(default_factory=dict)

    def where(self, keys: Keys) -> str:
        """`file:line` of these keys, or of the innermost table around them that is there."""
        while keys:
            if keys in self.lines:
                return f"{self.name}:{self.lines[keys]}"
            keys = keys[:-1]
        return self.name


def read_toml(path: Path) -> TomlFile:
    """Read a configuration: the whole of a file, or `[tool.toril]` of a pyproject.toml.

    Raises:
        InvalidOption: there is no such file, or it is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidOption(f"there is no configuration file {path}; check its name") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidOption(f"the configuration {path} cannot be read: {error}") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidOption(f"{path} is not TOML: {error}") from None
    lines = {keys: line for line, keys in _positions(text.splitlines())}
    inside = _IN_PYPROJECT if path.name == PYPROJECT else ()
    for name in inside:
        values = values.get(name, {})
    return TomlFile(
        str(path),
        values,
        {
            keys[len(inside) :]: line
            for keys, line in lines.items()
            if keys[: len(inside)] == inside
        },
    )


def _positions(lines: list[str]) -> Iterator[tuple[int, Keys]]:
    table: Keys = ()
    for number, statement in _statements(lines):
        found = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            table = _innermost(found)
            yield number, table
        else:
            for keys in _paths(found, ()):
                yield number, table + keys


def _statements(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Whole statements with the numbers of their first lines; a value may go over several."""
    begun, held = 0, ""
    for number, line in enumerate(lines, 1):
        begun = begun if held else number
        held += line + "\n"
        if _is_toml(held):
            yield begun, held
            held = ""


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _innermost(found: Any) -> Keys:
    """The one table that a header opens, `[[of.many]]` as `[of.many]`."""
    keys: Keys = ()
    while isinstance(found, dict) and found:
        ((name, found),) = found.items()
        keys = (*keys, name)
    return keys


def _paths(found: Mapping[str, Any], around: Keys) -> Iterator[Keys]:
    for name, value in found.items():
        yield (*around, name)
        if isinstance(value, dict):
            yield from _paths(value, (*around, name))
