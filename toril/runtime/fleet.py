"""Which supervisors work a queue, by the records that they keep in Redis; no I/O.

Each rewrites `P:Q:toril:fleet:<nonce>` now and then, which dies with it, and stands in the sorted
set `P:Q:toril:fleet` by the server's time of its last beat, so that nobody has to scan for keys.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toril.runtime.command import REAL_TIME, Command
from toril.runtime.dialog import Program, call_all, plain
from toril.runtime.keys import client_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from toril.runtime.command import Packet

MAX_SUPERVISORS = 1000
"""Most that are read of one queue; chosen: beyond it nobody reads a list."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A supervisor as its last beat shows it.

    Attributes:
        nonce: tells supervisors apart, also those of one process id.
        record: what it wrote, JSON text.
        seen_ms: when, by the server's clock.
        now_ms: the server's clock when it was read.
    """

    nonce: str
    record: bytes
    seen_ms: int
    now_ms: int


def beat(
    base: str, nonce: str, record: bytes, lives_ms: int, *, now_ms: int | str = REAL_TIME
) -> Command[str]:
    """Keep a supervisor's record for so long."""
    args = (now_ms, nonce, record, lives_ms)
    return Command("beat", (base,), args, lambda word: word.decode())


def beat_all(records: Mapping[str, bytes], nonce: str, lives_ms: int) -> Program[None]:
    """Keep a supervisor's records of all its queues, in one round trip.

    Args:
        records: `P:Q:` → the record.
        nonce: the supervisor's.
        lives_ms: how long without another beat.

    Raises:
        RedisUnavailable: not now.
        RedisRefused: it takes none of them.
    """
    commands = [beat(base, nonce, record, lives_ms) for base, record in records.items()]
    for result in (yield from call_all(commands)):
        if isinstance(result, Exception):
            raise result


def leave(bases: Sequence[str], nonce: str) -> Program[None]:
    """Forget a supervisor that stops.

    Raises:
        RedisUnavailable: not now; its records die by themselves.
    """
    packets: list[Packet] = []
    for base in bases:
        index = _index(base)
        packets += [("ZREM", index, nonce), ("DEL", f"{index}:{nonce}")]
    yield from plain(*packets)


def fleet(base: str) -> Program[list[Sighting]]:
    """The supervisors of a queue, the one heard of last at the end.

    Raises:
        RedisUnavailable: Redis cannot be reached.
        RedisRefused: something else has taken the key.
    """
    index = _index(base)
    time, members = yield from plain(
        ("TIME",), ("ZRANGE", index, -MAX_SUPERVISORS, -1, "WITHSCORES")
    )
    if not members:
        return []
    now_ms = int(time[0]) * 1000 + int(time[1]) // 1000
    nonces = [raw.decode(errors="replace") for raw in members[::2]]
    (records,) = yield from plain(("MGET", *(f"{index}:{nonce}" for nonce in nonces)))
    seen_ms = [round(float(score)) for score in members[1::2]]
    return [
        Sighting(nonce, record, at_ms, now_ms)
        for nonce, at_ms, record in zip(nonces, seen_ms, records, strict=True)
        if record is not None
    ]


def worked_queues(prefix: str) -> Program[list[str]]:
    """Queues that a worker of any kind is connected for, by the names of their connections.

    Raises:
        RedisRefused: the server does not list its clients to us.
    """
    (reply,) = yield from plain(("CLIENT", "LIST"))
    words = (word for line in reply.decode(errors="replace").splitlines() for word in line.split())
    names = {word.removeprefix("name=") for word in words if word.startswith("name=")}
    return sorted(filter(None, {_queue_of(name, prefix) for name in names}))


def _queue_of(name: str, prefix: str) -> str:
    """The queue that a worker's connection names; empty for any other connection."""
    if not name.startswith(f"{prefix}:"):
        return ""
    encoded = name.removeprefix(f"{prefix}:").partition(":")[0]
    try:
        queue = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    own = client_name(prefix, queue)
    return queue if name == own or name.startswith(f"{own}:w:") else ""


def _index(base: str) -> str:
    return f"{base}toril:fleet"
