"""Commands as the bytes that go to Redis; pure.

redis-py calls the same packer in C, but looks at every argument before: that takes longer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import hiredis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from toril.runtime.command import Packet

# Its annotation asks for a tuple of one argument.
_pack: Callable[[Packet], bytes] = hiredis.pack_command  # type: ignore[assignment]


def packed(packets: Sequence[Packet]) -> bytes:
    """Commands one after the other, as RESP.

    Text is UTF-8; what `surrogateescape` made of foreign bytes becomes those bytes again.
    """
    return _packed(packets[0]) if len(packets) == 1 else b"".join(map(_packed, packets))


def pieces(packets: Iterable[Packet]) -> list[bytes]:
    """The same, each command for itself: large values are not copied once more."""
    return [_packed(packet) for packet in packets]


def _packed(packet: Packet) -> bytes:
    try:
        return _pack(packet)
    except UnicodeEncodeError:
        return _pack(tuple(map(_as_bytes, packet)))


def _as_bytes(argument: str | bytes | int) -> bytes | int:
    return argument.encode("utf-8", "surrogateescape") if isinstance(argument, str) else argument
