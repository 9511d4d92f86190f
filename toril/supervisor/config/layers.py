"""Layers of settings laid over one another, and where each effective value came from; pure.

The order is the caller's: flags over environment over file over defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from toril.supervisor.config.toml_file import Keys


@dataclass(frozen=True, slots=True)
class Layer:
    """One source of settings.

    Attributes:
        values: nested tables.
        where: what a message calls the place of a value: `--timeout`, `toril.toml:12`.
    """

    values: Mapping[str, Any]
    where: Callable[[Keys], str]


@dataclass(frozen=True, slots=True)
class Merged:
    """What all layers say together."""

    values: Mapping[str, Any]
    layers: Sequence[Layer]

    def origin(self, keys: Keys) -> str | None:
        """Where the value with these keys came from; None: it is a default."""
        for layer in reversed(self.layers):
            if _has(layer.values, keys):
                return layer.where(keys)
        return None

    def nearest_origin(self, keys: Keys) -> str | None:
        """The same, for keys that are missing: where the innermost table around them stands."""
        while keys:
            if (found := self.origin(keys)) is not None:
                return found
            keys = keys[:-1]
        return None


def merge(layers: Sequence[Layer]) -> Merged:
    """Lay the later layers over the earlier ones; tables are merged, anything else replaced."""
    values: dict[str, Any] = {}
    for layer in layers:
        _lay(values, layer.values)
    return Merged(values, layers)


def leaves(values: Mapping[str, Any], around: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """(keys, value) of everything that is no table, in order."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*around, name))
        else:
            yield (*around, name), value


def _lay(under: dict[str, Any], over: Mapping[str, Any]) -> None:
    for name, value in over.items():
        if isinstance(value, dict):
            beneath = under.get(name)
            under[name] = beneath if isinstance(beneath, dict) else {}
            _lay(under[name], value)
        else:
            under[name] = value


def _has(values: Any, keys: Keys) -> bool:
    for name in keys:
        if not isinstance(values, dict) or name not in values:
            return False
        values = values[name]
    return True
