"""What a server holds, read in one call and put so that two servers can be compared.

`NORMALISED` is all that is left out or rewritten, each with its reason. What is left must be equal
after every step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis

NORMALISED = {
    "keys `…:toril:…` are left out": "toril's own",
    "fields `t:…` of jobs are left out": "toril's own",
    "`version` of `meta` is left out, and a `meta` of nothing else": "says who came last",
    "JSON is compared as what it says": "the order of keys and the spaces mean nothing",
    "ids of events are left out": "made by each server's clock",
    "events are compared once, as they come": "an entry of a stream never changes",
    "times to live are compared in minutes": "two servers cannot be told at the same moment",
    "sets have no order": "Redis gives none",
}
"""Rule → reason."""

Keyspace = Mapping[str, "Entry"]

_JSON_FIELDS = {"data", "opts", "parent", "pd", "progress", "returnvalue", "stacktrace"}
_MINUTE_MS = 60_000

_READ_ALL = """#!lua flags=no-writes
local seen, found = {}, {}
for i = 1, #ARGV, 2 do
  seen[ARGV[i]] = ARGV[i + 1]
end
local read = {
  string = function(key) return redis.call('GET', key) end,
  list = function(key) return redis.call('LRANGE', key, 0, -1) end,
  set = function(key) return redis.call('SMEMBERS', key) end,
  zset = function(key) return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end,
  hash = function(key) return redis.call('HGETALL', key) end,
  stream = function(key)
    local since = seen[key] and '(' .. seen[key] or '-'
    return {redis.call('XLEN', key), redis.call('XRANGE', key, since, '+')}
  end,
}
for i, key in ipairs(redis.call('KEYS', '*')) do
  local kind = redis.call('TYPE', key).ok
  found[i] = {key, kind, redis.call('PTTL', key), read[kind](key)}
end
return found
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key, normalised.

    string: text · list: list · set: sorted list · zset: dict member → score · hash: dict field →
    what it says · stream: its length, and the events that are new since the last look.
    """

    kind: str
    value: Any
    ttl_minutes: int | None


@dataclass
class Look:
    """A server's keyspace over time."""

    client: redis.Redis
    _seen: dict[bytes, bytes] = field(default_factory=dict)

    def read(self) -> Keyspace:
        """Everything there is now, and the events since this was last asked."""
        seen = [part for pair in self._seen.items() for part in pair]
        entries = {}
        for raw_key, raw_kind, ttl_ms, raw in self.client.eval(_READ_ALL, 0, *seen):
            key, kind = raw_key.decode(), raw_kind.decode()
            if kind == "stream" and raw[1]:
                self._seen[raw_key] = raw[1][-1][0]
            if ":toril:" in key:
                continue
            minutes = None if ttl_ms < 0 else round(ttl_ms / _MINUTE_MS)
            entry = Entry(kind, _said(key, kind, raw), minutes)
            if entry.value != {}:
                entries[key] = entry
        return entries


def differences(node: Keyspace, toril: Keyspace) -> list[str]:
    """Every key that differs, a line for each side; empty when they are equal."""
    lines = []
    for key in sorted(node.keys() | toril.keys()):
        ours, theirs = toril.get(key), node.get(key)
        if ours != theirs:
            only_node, only_toril = _unequal(theirs, ours)
            lines += [key, f"    node   {only_node}", f"    toril  {only_toril}"]
    return lines


def _unequal(node: Entry | None, toril: Entry | None) -> tuple[Any, Any]:
    """Both entries; of mappings only what is unequal."""
    if node is None or toril is None or node.kind != toril.kind:
        return node or "(no such key)", toril or "(no such key)"
    if not isinstance(node.value, dict) or node.ttl_minutes != toril.ttl_minutes:
        return node, toril
    names = [
        name
        for name in sorted(node.value.keys() | toril.value.keys())
        if node.value.get(name) != toril.value.get(name)
    ]
    return tuple({name: one.value.get(name, "-") for name in names} for one in (node, toril))


def _said(key: str, kind: str, raw: Any) -> Any:
    match kind:
        case "string":
            return raw.decode()
        case "list":
            return [item.decode() for item in raw]
        case "set":
            return sorted(item.decode() for item in raw)
        case "zset":
            return {member.decode(): float(score) for member, score in _pairs(raw)}
        case "hash":
            return _hash(key, {name.decode(): text.decode() for name, text in _pairs(raw)})
        case "stream":
            return raw[0], [_event(fields) for _id, fields in raw[1]]
    raise ValueError(f"a key of type {kind}")


def _hash(key: str, fields: dict[str, str]) -> dict[str, Any]:
    if key.endswith(":meta"):
        return {name: text for name, text in fields.items() if name != "version"}
    if key.endswith(":processed"):
        return {name: _decoded(text) for name, text in fields.items()}
    return _fields({name: text for name, text in fields.items() if not name.startswith("t:")})


def _event(raw: list[bytes]) -> dict[str, Any]:
    fields = {name.decode(): text.decode() for name, text in _pairs(raw)}
    return _fields(fields)


def _fields(fields: dict[str, str]) -> dict[str, Any]:
    return {n: _decoded(text) if n in _JSON_FIELDS else text for n, text in fields.items()}


def _decoded(text: str) -> Any:
    try:
        return ["JSON", json.loads(text)]
    except ValueError:
        return text


def _pairs(flat: list[bytes]) -> zip[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)
