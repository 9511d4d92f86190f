"""The settings in force, as text that a file could hold, and their JSON Schema."""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from toril.log_settings import LogSettings
from toril.runtime.options import KEEP_ALL, KeepRule
from toril.sandbox.allow import Allow
from toril.sandbox.limits import Limits
from toril.supervisor.config.problems import settings_of_fields
from toril.supervisor.config.schema import ConfigTable, QueueTable
from toril.supervisor.settings import QueueSettings, Settings
from toril.units import format_exactly

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toril.supervisor.config.load import Loaded
    from toril.supervisor.config.toml_file import Keys

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting.

    Attributes:
        name: its keys, joined by dots.
        value: as JSON; durations and sizes as text with their unit. Never a password.
        origin: a flag, a variable, `file:line` or `default`.
    """

    name: str
    value: Any
    origin: str


def shown(loaded: Loaded) -> list[Shown]:
    """Every setting of the supervisor and of each queue, in the schema's order."""
    found = list(_of_table(loaded.settings, settings_of_fields(ConfigTable), loaded))
    for queue in loaded.settings.queues:
        found += _of_table(queue, settings_of_fields(QueueTable, ("queues", queue.name)), loaded)
    return found


def json_schema() -> dict[str, Any]:
    """A JSON Schema of the file, with the defaults."""
    schema = ConfigTable.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    for table in (schema, *schema.get("$defs", {}).values()):
        for setting in table.get("properties", {}).values():
            setting.pop("default", None)
    defaults = _defaults()
    for table in (schema, *schema["$defs"].values()):
        for name, setting in table.get("properties", {}).items():
            if name in defaults:
                setting["default"] = defaults[name]
    for name, setting in schema["$defs"]["LogTable"]["properties"].items():
        setting["default"] = _written(name, getattr(LogSettings(), name))
    return schema


def _of_table(owner: Any, places: Iterator[tuple[str, Keys]], loaded: Loaded) -> Iterator[Shown]:
    for name, keys in places:
        if "queues" in keys and owner is loaded.settings:
            continue
        value = _value(owner, name)
        if value is MISSING or (is_dataclass(value) and not isinstance(value, KeepRule)):
            continue
        origin = loaded.merged.origin(keys) or DEFAULT
        yield Shown(".".join(keys), _written(name, value), origin)


def _value(owner: Any, name: str) -> Any:
    """A field of a queue's settings, or of the values in it."""
    for holder in (owner, *(getattr(owner, part, None) for part in ("limits", "allow", "log"))):
        if (found := getattr(holder, name, MISSING)) is not MISSING:
            return found
    limit = getattr(owner, "rate_limit", None)
    return getattr(limit, name, MISSING) if limit is not None else MISSING


def _written(name: str, value: Any) -> Any:
    if name == "redis":
        return _without_password(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, KeepRule):
        return _rule(value)
    if isinstance(value, tuple):
        return list(value)
    return format_exactly(name, value) if isinstance(value, int | float) else value


def _rule(rule: KeepRule) -> str | None:
    """As it is written; None: everything stays."""
    parts = [] if rule.count == KEEP_ALL else [str(rule.count)]
    if rule.age_s is not None:
        parts.append(str(format_exactly("age_s", rule.age_s)))
    return ",".join(parts) or None


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    user, host = parts.username or "", parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}@{host}" if user else host))


def _defaults() -> dict[str, Any]:
    """Setting → its default, of those that have a constant one."""
    found: dict[str, Any] = {}
    places = {**dict(settings_of_fields(ConfigTable)), **dict(settings_of_fields(QueueTable))}
    for kind in (Settings, QueueSettings, Limits, Allow):
        for field in fields(kind):
            if field.name in places and field.default is not MISSING:
                found[places[field.name][-1]] = _written(field.name, field.default)
    return {name: value for name, value in found.items() if value is not None}


def rendered() -> str:
    """Every setting as a table of Markdown: its name, default and meaning."""
    schema = json_schema()
    settings = [keys for _, keys in settings_of_fields(ConfigTable)]
    tables = {keys[:length] for keys in settings for length in range(len(keys))}
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for keys in settings:
        name = ".".join(keys).replace("queues.", "queues.NAME.", 1)
        found = _property(schema, keys)
        if found is None or keys in tables:
            continue
        default = json.dumps(found["default"]) if "default" in found else ""
        text = found.get("description", "").replace("|", "\\|")
        rows.append(f"| `{name}` | {f'`{default}`' if default else ''} | {text} |")
    return "\n".join(rows) + "\n"


def _property(schema: dict[str, Any], keys: Keys) -> dict[str, Any] | None:
    table: dict[str, Any] = schema
    found: dict[str, Any] | None = None
    for name in keys:
        found = table.get("properties", {}).get(name)
        if found is None:
            return None
        inner = found.get("additionalProperties", found)
        if isinstance(inner, dict) and "$ref" in inner:
            table = schema["$defs"][inner["$ref"].rpartition("/")[2]]
    return found
