"""The frames between supervisor and child: a fixed 16-byte header and a payload nobody parses here.

    offset size  field
    0      u32   payload length, little endian; checked against its type's maximum before anything
                 is allocated
    4      u8    type
    5      u8    version = 1
    6      u16   zero
    8      u64   sequence of the call, chosen by the supervisor; 0 = no call
    16     …     payload

No I/O and no state of a conversation: who may say what and when is `session.py`.
"""

from __future__ import annotations

import enum
import struct
from typing import TYPE_CHECKING, NamedTuple

from toril.errors import ProtocolError
from toril.sizes import MAX_CHECKPOINT_BYTES, MAX_DATA_BYTES, MAX_OPTS_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HEADER = struct.Struct("<IBBHQ")
_pack_header, _unpack_header = _HEADER.pack, _HEADER.unpack_from
HEADER_BYTES = _HEADER.size
VERSION = 1

_SCRATCH_BYTES = 16 * 1024
"""Headers and small payloads are read together through one buffer of this size; chosen: many small
frames cost one system call, and a flood of empty ones is at most a thousand at a time."""


class FrameType(enum.IntEnum):
    """Who says it: below 16 the supervisor, from 16 up the child."""

    JOB = 1
    CANCEL = 2
    STOP = 3
    REPLY = 4
    READY = 16
    FAULT = 17
    PROGRESS = 18
    LOG = 19
    RESULT = 20
    ERROR = 21
    CALL = 22
    LAST = 23
    UPDATE_DATA = 24
    USAGE = 25
    CHECKPOINT = 26
    RECORD = 27


USAGE = struct.Struct("<Q?")
"""Payload of USAGE: the attempt's largest size, bytes, 0 for unknown; and whether something that it
printed was still to be read when it was over."""

_TYPES = {int(one): one for one in FrameType}

MAX_PROGRESS_BYTES = 64 * 1024
"""Largest progress value, bytes of JSON; chosen: it is copied into an event for every listener."""

MAX_LOG_BYTES = 64 * 1024
"""Longest log entry, bytes; chosen as for progress."""

MAX_RECORD_BYTES = MAX_LOG_BYTES + 257
"""Longest record of `logging`, bytes: an entry, a level and the name of a logger."""

MAX_ERROR_BYTES = 64 * 1024
"""Largest ERROR or FAULT payload, bytes; chosen: message and traceback are cut well below it."""

MAX_REPLY_BYTES = MAX_DATA_BYTES + 1024
"""Largest REPLY payload, bytes; chosen: what children of a job returned may be as long as data."""

CHILD_MAXIMA: Mapping[FrameType, int] = {
    FrameType.JOB: MAX_DATA_BYTES + 2 * MAX_OPTS_BYTES + MAX_CHECKPOINT_BYTES,
    FrameType.CANCEL: 1024,
    FrameType.STOP: 0,
    FrameType.REPLY: MAX_REPLY_BYTES,
}
"""Largest payload of what a child may be told, bytes."""


def supervisor_maxima(result_bytes: int) -> Mapping[FrameType, int]:
    """Largest payload of what a child may say, bytes.

    Args:
        result_bytes: the limit on the JSON text of a result.
    """
    return {
        FrameType.READY: 4096,
        FrameType.FAULT: MAX_ERROR_BYTES,
        FrameType.PROGRESS: MAX_PROGRESS_BYTES,
        FrameType.LOG: MAX_LOG_BYTES,
        FrameType.RESULT: result_bytes,
        FrameType.ERROR: MAX_ERROR_BYTES,
        FrameType.CALL: MAX_DATA_BYTES + 2 * MAX_OPTS_BYTES,
        FrameType.LAST: 1024,
        FrameType.UPDATE_DATA: MAX_DATA_BYTES,
        FrameType.USAGE: USAGE.size,
        FrameType.CHECKPOINT: MAX_CHECKPOINT_BYTES,
        FrameType.RECORD: MAX_RECORD_BYTES,
    }


class Frame(NamedTuple):
    """One whole frame; a tuple, because making one costs a third of a frozen dataclass."""

    type: FrameType
    sequence: int
    payload: bytes


def encode_header(frame_type: FrameType, sequence: int, payload_bytes: int) -> bytes:
    """The 16 bytes before a payload."""
    return _pack_header(payload_bytes, frame_type, VERSION, 0, sequence)


def encode(frame_type: FrameType, sequence: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return encode_header(frame_type, sequence, len(payload)) + payload


def decode_header(
    header: bytes | memoryview, maxima: Mapping[FrameType, int], at: int = 0
) -> tuple[FrameType, int, int]:
    """Type, sequence and payload length of the header that begins `at`.

    Raises:
        ProtocolError: version, type, reserved bits or length break a rule.
    """
    length, code, version, zero, sequence = _unpack_header(header, at)
    if version != VERSION:
        raise ProtocolError(f"frame version is {version}, expected {VERSION}")
    frame_type = _TYPES.get(code)
    if frame_type is None or frame_type not in maxima:
        raise ProtocolError(f"frame type {code} is not one that this side may send")
    if zero != 0:
        raise ProtocolError("reserved bits of a frame header are set")
    if length > maxima[frame_type]:
        raise ProtocolError(
            f"{frame_type.name} frame of {length} bytes, over the maximum of {maxima[frame_type]}"
        )
    return frame_type, sequence, length


class FrameReader:
    """Bytes in, frames out; a large payload is received straight into its final buffer.

    `buffer()` says where the next bytes go, `filled(n)` that they are there. After a
    `ProtocolError` the reader must not be used again.
    """

    __slots__ = ("_body", "_body_filled", "_body_head", "_end", "_maxima", "_scratch")

    def __init__(self, maxima: Mapping[FrameType, int]) -> None:
        self._maxima = maxima
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._end = 0
        self._body: bytearray | None = None
        self._body_filled = 0
        self._body_head = (FrameType.LOG, 0)

    def buffer(self) -> memoryview:
        """Where the next bytes go; never empty."""
        if self._body is not None:
            return memoryview(self._body)[self._body_filled :]
        return self._scratch[self._end :] if self._end else self._scratch

    def filled(self, count: int) -> Iterator[Frame]:
        """Take `count` bytes that were put into `buffer()`; yield the frames they complete.

        The iterator has to be exhausted, unless the reader is given up.

        Raises:
            ProtocolError: after the frames before the broken one were yielded.
        """
        if self._body is None:
            self._end += count
            return self._scratch_frames()
        self._body_filled += count
        if self._body_filled < len(self._body):
            return iter(())
        payload, self._body = bytes(self._body), None
        return iter((Frame(*self._body_head, payload),))

    def _scratch_frames(self) -> Iterator[Frame]:
        at, end, scratch = 0, self._end, self._scratch
        while end - at >= HEADER_BYTES:
            start = at + HEADER_BYTES
            frame_type, sequence, length = decode_header(scratch, self._maxima, at)
            if start + length > end:
                if HEADER_BYTES + length > _SCRATCH_BYTES:
                    self._begin_body(frame_type, sequence, length, scratch[start:end])
                    return
                break
            at = start + length
            yield Frame(frame_type, sequence, bytes(scratch[start:at]))
        if at == end:
            self._end = 0
        elif at:
            scratch[: end - at] = bytes(scratch[at:end])
            self._end = end - at

    def _begin_body(
        self, frame_type: FrameType, sequence: int, length: int, first: memoryview
    ) -> None:
        self._body = bytearray(length)
        self._body[: len(first)] = first
        self._body_filled = len(first)
        self._body_head = (frame_type, sequence)
        self._end = 0
