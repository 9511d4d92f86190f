"""Settings from the environment: `TORIL_PREFIX`, `TORIL_QUEUES__IMAGES__CONCURRENCY`; pure.

A name is the setting's keys in capitals, joined by two underscores; what is no letter or digit in
the name of a queue is one underscore. Names that mean no setting are somebody else's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from toril.supervisor.config.layers import Layer
from toril.supervisor.config.schema import ConfigTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from toril.supervisor.config.toml_file import Keys

_PREFIX = "TORIL_"
_BETWEEN = "__"
_QUEUES = "queues"

ALIASES: Mapping[str, Keys] = {"TORIL_REDIS_URL": ("redis",)}
"""Variables that are not called as their setting."""


def environment_layer(environ: Mapping[str, str], queues: Iterable[str]) -> Layer:
    """What the environment says.

    Args:
        environ: all of it.
        queues: names of queues that a variable may mean.
    """
    by_name = {_variable_part(queue): queue for queue in queues}
    values: dict[str, Any] = {}
    names: dict[Keys, str] = {}
    for variable, text in environ.items():
        keys = ALIASES.get(variable) or _keys(variable, by_name)
        if keys and text:
            names[keys] = variable
            _put(values, keys, text)
    return Layer(values, lambda keys: names.get(keys) or variable_of(keys))


def variable_of(keys: Keys) -> str:
    """The variable that gives this setting."""
    return _PREFIX + _BETWEEN.join(_variable_part(name) for name in keys)


def _keys(variable: str, queues: Mapping[str, str]) -> Keys:
    if not variable.startswith(_PREFIX):
        return ()
    first, *rest = variable.removeprefix(_PREFIX).split(_BETWEEN)
    top = first.lower()
    if top not in ConfigTable.model_fields and top != "drain_timeout":
        return ()
    if top != _QUEUES:
        return (top, *(name.lower() for name in rest))
    if len(rest) < 2 or rest[0] not in queues:  # noqa: PLR2004 - a queue and its setting
        return ()
    return (_QUEUES, queues[rest[0]], *(name.lower() for name in rest[1:]))


def _variable_part(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def _put(values: dict[str, Any], keys: Keys, text: str) -> None:
    *around, last = keys
    for name in around:
        values = values.setdefault(name, {})
    values[last] = text
