"""A record of the standard library's `logging` on its way from a child to the log; pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from toril.errors import ProtocolError
from toril.sandbox.frames import MAX_LOG_BYTES
from toril.sandbox.text import clean

_HEAD = struct.Struct("<BB")
_MAX_BYTE = 255

_LEVELS = ((40, "ERROR"), (30, "WARNING"), (20, "INFO"))
"""Least number of `logging` → our word for it; below is DEBUG."""


@dataclass(frozen=True, slots=True)
class Record:
    """What was logged.

    Attributes:
        level: ERROR (CRITICAL too), WARNING, INFO or DEBUG.
        logger: the logger's name.
        text: the message, with the traceback.
    """

    level: str
    logger: str
    text: str

    @classmethod
    def decode(cls, payload: bytes) -> Record:
        """Read a RECORD frame's payload.

        Raises:
            ProtocolError: it is malformed.
        """
        if len(payload) < _HEAD.size:
            raise ProtocolError("RECORD frame is malformed")
        number, name_bytes = _HEAD.unpack_from(payload)
        text_at = _HEAD.size + name_bytes
        if text_at > len(payload):
            raise ProtocolError("RECORD frame is malformed")
        name = payload[_HEAD.size : text_at].decode("utf-8", "replace")
        level = next((word for least, word in _LEVELS if number >= least), "DEBUG")
        return cls(level, name, payload[text_at:].decode("utf-8", "replace"))


def encode(number: int, logger: str, text: str) -> bytes:
    """A RECORD frame's payload: level's number, length of the name, name, text."""
    name = clean(logger, _MAX_BYTE).encode()[:_MAX_BYTE]
    level = min(max(number, 0), _MAX_BYTE)
    return _HEAD.pack(level, len(name)) + name + clean(text, MAX_LOG_BYTES).encode()
