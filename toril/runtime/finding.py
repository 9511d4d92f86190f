"""Which queues there are under a prefix: a bounded scan for their keys, or a look; programs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toril.runtime.dialog import Program, plain
from toril.runtime.keys import check_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable

KEYS_PER_SCAN = 1000
"""Keys that one SCAN looks at; chosen: Redis serves others every fraction of a millisecond."""

MAX_SCANS = 20_000
"""Most calls of SCAN, so that a search of a huge database ends; chosen: half a minute."""

_OWN_KEYS = frozenset({"meta", "id"})
"""What every queue has that a producer has added to, or a worker has opened."""

_FIRST_KEYS = ("meta", "id", "events", "toril:limit")
"""What one of is there as soon as anything was done to a queue; a resumed one has its events only,
one that is limited before all else the limit."""


@dataclass(frozen=True, slots=True)
class FoundQueues:
    """Queues of a prefix.

    Attributes:
        names: in order.
        is_complete: False when the database is so large that the search was broken off.
    """

    names: list[str]
    is_complete: bool


def find_queues(prefix: str) -> Program[FoundQueues]:
    """Look for queues, whoever made them.

    Raises:
        InvalidOption: no prefix.
        RedisUnavailable: Redis cannot be reached.
        RedisRefused: it does not permit SCAN.
    """
    # SCAN's patterns have no alternatives: this lets `meta`, `id` and little else pass.
    pattern = re.sub(r"([\\*?\[\]])", r"\\\1", check_prefix(prefix)) + ":*:[mi]*[ad]"
    names: set[str] = set()
    cursor = b"0"
    for _ in range(MAX_SCANS):
        ((cursor, keys),) = yield from plain(
            ("SCAN", cursor, "MATCH", pattern, "COUNT", KEYS_PER_SCAN)
        )
        names |= set(_queues(prefix, keys))
        if cursor == b"0":
            break
    return FoundQueues(sorted(names), cursor == b"0")


def is_queue(base: str) -> Program[bool]:
    """Is there a queue of this name, whoever made it?

    Args:
        base: `P:Q:`.

    Raises:
        RedisUnavailable: Redis cannot be reached.
    """
    (found,) = yield from plain(("EXISTS", *(base + key for key in _FIRST_KEYS)))
    return bool(found)


def _queues(prefix: str, keys: Iterable[bytes]) -> Iterable[str]:
    for key in keys:
        try:
            name, _, part = key.decode().removeprefix(f"{prefix}:").rpartition(":")
        except UnicodeDecodeError:
            continue
        if part in _OWN_KEYS and name.strip() and ":" not in name:
            yield name
