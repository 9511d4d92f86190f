"""Commands as bytes of Redis' protocol; pure.

hiredis packs a command in a tenth of the time that redis-py's own packer takes, and knows nothing
of the bytes that foreign ids may hold: those are encoded here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hiredis

if TYPE_CHECKING:
    from collections.abc import Iterable

    from toril.runtime.command import Packet


def packed(packets: Iterable[Packet]) -> list[bytes]:
    """One piece per command, to be written one after another."""
    return [_packed(packet) for packet in packets]


def _packed(packet: Packet) -> bytes:
    pack: Any = hiredis.pack_command
    try:
        data: bytes = pack(packet)
    except UnicodeEncodeError:
        data = pack(tuple(map(_as_it_came, packet)))
    return data


def _as_it_came(part: str | bytes | int) -> bytes | int:
    """Ids of foreign programs may hold any bytes: they go back as they were read."""
    return part.encode(errors="surrogateescape") if isinstance(part, str) else part
