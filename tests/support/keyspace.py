"""Everything a database holds, as a value that two moments can be compared by."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis


@dataclass(frozen=True, slots=True)
class Entry:
    """One key: its Redis type, its value as Python's nearest type of bytes, and whether it expires.

    string: bytes · list: list · set: set · zset: dict member → score · hash: dict field → value ·
    stream: list of (id, dict field → value).
    """

    kind: str
    value: Any
    expires: bool


_READERS: dict[str, Callable[[redis.Redis, bytes], Any]] = {
    "string": lambda client, key: client.get(key),
    "list": lambda client, key: client.lrange(key, 0, -1),
    "set": lambda client, key: set(client.smembers(key)),
    "zset": lambda client, key: dict(client.zrange(key, 0, -1, withscores=True)),
    "hash": lambda client, key: client.hgetall(key),
    "stream": lambda client, key: client.xrange(key),
}


def snapshot(client: redis.Redis) -> dict[str, Entry]:
    """Every key of the client's database; keys as text, values as bytes."""
    return {name: _entry(client, name) for name in sorted(_names(client))}


@contextmanager
def unchanged_keyspace(client: redis.Redis) -> Iterator[None]:
    """Assert that the block leaves every key as it was."""
    before = snapshot(client)
    yield
    assert differences(before, snapshot(client)) == {}


def differences(
    before: dict[str, Entry], after: dict[str, Entry]
) -> dict[str, tuple[Entry | None, Entry | None]]:
    """Key → (before, after), for the keys that differ; None where a key is not there."""
    names = sorted(before.keys() | after.keys())
    pairs = {name: (before.get(name), after.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _names(client: redis.Redis) -> set[str]:
    return {name.decode(errors="surrogateescape") for name in client.scan_iter(count=1000)}


def _entry(client: redis.Redis, name: str) -> Entry:
    key = name.encode(errors="surrogateescape")
    kind = client.type(key).decode()
    return Entry(kind, _READERS[kind](client, key), client.pttl(key) != -1)
