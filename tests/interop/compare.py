"""Two queues on one server, as values that can be compared: what was said must be the same.

Left out, because it may differ: entry ids of the event stream, `version` in `meta`, keys and job
fields of toril's own (`toril:…`, `t:…`). JSON is compared as what it says, not by key order.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support.keyspace import Entry, snapshot

if TYPE_CHECKING:
    import redis

_JSON_FIELDS = {"data", "opts", "progress", "returnvalue", "stacktrace"}


def queue_view(client: redis.Redis, queue: str, prefix: str = "bull") -> dict[str, Any]:
    """Key suffix → (type, value, expires), for every key of a queue; text instead of bytes."""
    base = f"{prefix}:{queue}:"
    return {
        name.removeprefix(base): (entry.kind, _said(name, entry), entry.expires)
        for name, entry in snapshot(client).items()
        if name.startswith(base) and not name.startswith(f"{base}toril:")
    }


def events_of(client: redis.Redis, queue: str, prefix: str = "bull") -> list[dict[str, Any]]:
    """The event stream in order, without entry ids."""
    entries = client.xrange(f"{prefix}:{queue}:events")
    return [_decoded(_texts(fields)) for _entry_id, fields in entries]


def _said(name: str, entry: Entry) -> Any:
    match entry.kind:
        case "stream":
            return [_decoded(_texts(fields)) for _entry_id, fields in entry.value]
        case "hash":
            return _hash(name, _texts(entry.value))
        case "zset":
            return {member.decode(): score for member, score in entry.value.items()}
        case "set":
            return {member.decode() for member in entry.value}
        case "list":
            return [item.decode() for item in entry.value]
        case _:
            return entry.value.decode()


def _hash(name: str, fields: dict[str, str]) -> dict[str, Any]:
    if name.endswith(":meta"):
        return fields | {"version": "any"}
    return _decoded({name: text for name, text in fields.items() if not name.startswith("t:")})


def _decoded(fields: dict[str, str]) -> dict[str, Any]:
    return {n: json.loads(text) if n in _JSON_FIELDS else text for n, text in fields.items()}


def _texts(pairs: dict[bytes, bytes]) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in pairs.items()}
