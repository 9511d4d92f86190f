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
        where: the place of a value: `--timeout`, `TORIL_PREFIX`, `toril.toml:12`.
        is_named: the place names the setting; else a message has to.
    """

    values: Mapping[str, Any]
    where: Callable[[Keys], str]
    is_named: bool = True


@dataclass(frozen=True, slots=True)
class Merged:
    """What all layers say together."""

    values: Mapping[str, Any]
    layers: Sequence[Layer]

    def origin(self, keys: Keys) -> str | None:
        """Where the value with these keys came from; None: it is a default."""
        layer = self._layer(keys)
        return None if layer is None else layer.where(keys)

    def subject(self, keys: Keys) -> str:
        """What a message about this setting begins with; of a missing one the table around it."""
        name = ".".join(keys)
        layer = self._layer(keys)
        if layer is not None and layer.is_named:
            return layer.where(keys)
        around = keys
        while layer is None and around:
            around = around[:-1]
            layer = self._layer(around)
        if layer is None or layer.is_named:
            return name
        return f"{layer.where(keys)}: {name}"

    def _layer(self, keys: Keys) -> Layer | None:
        for layer in reversed(self.layers):
            if _has(layer.values, keys):
                return layer
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
