"""The frame parser and encoder: any cut of the bytes, every rule, nothing allocated for a lie."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toril.errors import ProtocolError
from toril.sandbox.frames import (
    CHILD_MAXIMA,
    HEADER_BYTES,
    MAX_LOG_BYTES,
    Frame,
    FrameReader,
    FrameType,
    decode_header,
    encode,
    supervisor_maxima,
)

MAXIMA = supervisor_maxima(1024 * 1024)


def feed(reader: FrameReader, data: bytes, step: int) -> list[Frame]:
    """Give a reader `data`, at most `step` bytes at a time."""
    frames = []
    while data:
        room = reader.buffer()
        assert len(room) > 0
        count = min(step, len(room), len(data))
        room[:count] = data[:count]
        frames += reader.filled(count)
        data = data[count:]
    return frames


frames = st.builds(
    Frame,
    st.sampled_from([FrameType.LOG, FrameType.RESULT, FrameType.PROGRESS]),
    st.integers(0, 2**64 - 1),
    st.one_of(st.binary(max_size=40), st.integers(0, 60_000).map(lambda size: b"x" * size)),
)


@given(st.lists(frames, max_size=12), st.sampled_from([1, 7, 16, 17, 4096, 20_000, 10**9]))
def test_frames_come_out_as_they_went_in_however_the_bytes_are_cut(sent, step):
    if step < 16:
        sent = [Frame(one.type, one.sequence, one.payload[:300]) for one in sent]
    data = b"".join(encode(one.type, one.sequence, one.payload) for one in sent)

    assert feed(FrameReader(MAXIMA), data, step) == sent


def test_header_is_16_bytes_little_endian():
    assert encode(FrameType.RESULT, 5, b"12") == b"\x02\0\0\0\x14\x01\0\0\x05\0\0\0\0\0\0\0" + b"12"


def test_largest_payload_passes_and_one_byte_more_does_not():
    maxima = supervisor_maxima(1000)
    largest = encode(FrameType.RESULT, 1, b"1" * 1000)

    assert feed(FrameReader(maxima), largest, 10**6)[0].payload == b"1" * 1000
    with pytest.raises(ProtocolError, match="RESULT frame of 1001 bytes, over the maximum of 1000"):
        feed(FrameReader(maxima), encode(FrameType.RESULT, 1, b"1" * 1001), 10**6)


def header(length=0, code=20, version=1, zero=0, sequence=1) -> bytes:
    return struct.pack("<IBBHQ", length, code, version, zero, sequence)


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (header(version=0), "frame version is 0, expected 1"),
        (header(code=0), "frame type 0 is not"),
        (header(code=255), "frame type 255 is not"),
        (header(code=FrameType.JOB), "frame type 1 is not"),
        (header(zero=1), "reserved bits"),
        (header(length=2**32 - 1), "over the maximum"),
        (header(code=FrameType.LOG, length=MAX_LOG_BYTES + 1), "over the maximum"),
    ],
)
def test_broken_header_is_named(broken, rule):
    with pytest.raises(ProtocolError, match=rule):
        decode_header(broken, MAXIMA)


def test_frames_before_a_broken_one_are_handed_over_first():
    reader = FrameReader(MAXIMA)
    data = encode(FrameType.RESULT, 1, b"1") + b"\xff" * 40
    reader.buffer()[: len(data)] = data
    parsed = reader.filled(len(data))

    assert next(parsed).payload == b"1"
    with pytest.raises(ProtocolError):
        next(parsed)


def test_both_sides_have_types_of_their_own():
    assert set(CHILD_MAXIMA) & set(MAXIMA) == set()
    assert set(CHILD_MAXIMA) | set(MAXIMA) == set(FrameType)
    assert all(one < 16 for one in CHILD_MAXIMA)
    assert all(one >= 16 for one in MAXIMA)


@given(st.binary(min_size=HEADER_BYTES, max_size=200))
def test_garbage_is_frames_or_a_broken_rule_and_nothing_else(data):
    with suppress(ProtocolError):
        feed(FrameReader(MAXIMA), data, 64)
