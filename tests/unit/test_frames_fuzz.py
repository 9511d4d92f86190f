"""Seeded fuzz of what the supervisor hears from a child: frame parser, session table, payloads.

Streams are made of right frames that were bent a little, because pure noise ends at its first
header. Nothing may come of a stream but frames, outcomes and `ProtocolError`.
"""

from __future__ import annotations

import json
import os
import random
import struct
from typing import TYPE_CHECKING

import pytest

from toril.errors import ProtocolError
from toril.sandbox import outcomes
from toril.sandbox.frames import Frame, FrameReader, FrameType, encode, supervisor_maxima
from toril.sandbox.session import admit
from toril.sandbox.states import TABLE, Action, Event, State

if TYPE_CHECKING:
    from toril.call import Outcome

SEED = 20260517
STREAMS = 10_000
MIB = 1024 * 1024
MAXIMA = supervisor_maxima(64 * 1024)
LARGEST = max(MAXIMA.values())

_ERROR = {"kind": "raised", "name": "E", "message": "m", "stack": "s", "delay_ms": 0}
_FAULT = {"step": "s", "error": "e", "remedy": "", "traceback": "", "is_import": False}
PAYLOADS = {
    FrameType.READY: [b""],
    FrameType.FAULT: [json.dumps(_FAULT).encode()],
    FrameType.PROGRESS: [b"1", b'{"a": [1, 2]}', b"[" * 5000],
    FrameType.LOG: [b"text", b"\xff\xfe", b""],
    FrameType.RESULT: [b"null", b'"' + b"x" * 20_000 + b'"', b"[" * 5000, b"NaN"],
    FrameType.ERROR: [json.dumps(_ERROR).encode(), b"{}", b"[" * 5000],
    FrameType.CALL: [b"\0\0\0\0" + b'{"method": "add", "payload": {}}', b""],
    FrameType.LAST: [b"2 threads left"],
    FrameType.UPDATE_DATA: [b"{}", b"[" * 5000],
    FrameType.RECORD: [b"\x14\x01atext", b"\x14\xff", b""],
    FrameType.USAGE: [struct.pack("<Q", 1), b"\xff" * 8, b""],
}
SAID = [*PAYLOADS, *[one for one in PAYLOADS if one not in {FrameType.READY, FrameType.FAULT}] * 5]
CODES = [int(one) for one in FrameType] + [0, 5, 28, 255]


class Conversation:
    """The supervisor's side of one child, as far as it is pure: states by the table."""

    def __init__(self, rng: random.Random) -> None:
        self.state = State.CONFINING
        self.current = 0
        self.calls = 0
        self._rng = rng

    def hear(self, frame: Frame) -> None:
        """Take one frame as `handle.Child.on_frame` does; give the next call when it is idle."""
        admit(self.state, frame.type, frame.sequence, self.current)
        if frame.type is FrameType.READY:
            self._fire(Event.READY)
        elif frame.type is FrameType.FAULT:
            assert outcomes.fault(frame.payload).words
            self._fire(Event.FAULT)
        elif (outcome := heard(frame)) is not None:
            assert len(outcome.message.encode()) <= 2048
            assert len(outcome.stack.encode()) <= 32 * 1024
            self._fire(Event.SETTLED)
        if self.state is State.IDLE and self._rng.random() < 0.95:
            self.calls += 1
            self.current = self.calls
            self._fire(Event.RUN)

    def _fire(self, event: Event) -> None:
        self.state, action = TABLE[self.state, event]
        assert action is not Action.REJECT


def heard(frame: Frame) -> Outcome | None:
    """What a payload comes to."""
    if frame.type is FrameType.RESULT:
        return outcomes.returned(frame.payload)
    if frame.type is FrameType.ERROR:
        return outcomes.failed(frame.payload)
    if frame.type in {FrameType.PROGRESS, FrameType.UPDATE_DATA}:
        try:
            outcomes.check_json("progress", frame.payload)
        except RecursionError:
            raise ProtocolError("nested too deeply") from None
    return None


def stream(rng: random.Random) -> bytes:
    """A few frames of a conversation, bent now and then."""
    parts, call = ([encode(FrameType.READY, 0)] if rng.random() < 0.95 else []), 1
    for _ in range(rng.randrange(8)):
        frame_type = rng.choice(SAID)
        payload = (
            rng.choice(PAYLOADS[frame_type]) if rng.random() < 0.2 else PAYLOADS[frame_type][0]
        )
        sequence = rng.choice((0, call + 1, 2**63, 2**64 - 1)) if rng.random() < 0.05 else call
        parts.append(encode(frame_type, sequence, payload))
        call += frame_type in {FrameType.RESULT, FrameType.ERROR}
    data = bytearray(b"".join(parts))
    for _ in range(rng.choice((0, 0, 1, 1, 2, 8))):
        _bend(rng, data)
    return bytes(data)


def _bend(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data) + 1)
    match rng.randrange(6):
        case 0 if data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        case 1:
            data[at:at] = rng.randbytes(rng.choice((1, 3, 16, 400)))
        case 2:
            del data[at : at + rng.choice((1, 15, 16, 17, 1000))]
        case 3:
            length = rng.choice((0, 1, 2**16, LARGEST, LARGEST + 1, 2**31, 2**32 - 1))
            data[at:at] = struct.pack("<IBBHQ", length, rng.choice(CODES), 1, 0, 1)
        case 4:
            data[at:at] = data[: rng.randrange(64)]
        case _:
            del data[at:]


def swallow(rng: random.Random, data: bytes) -> tuple[int, str]:
    """Feed one stream in random pieces; (frames that were heard, the rule that was broken)."""
    reader, conversation = FrameReader(MAXIMA), Conversation(rng)
    step = rng.choice((1, 7, 16, 33, 4096, 10**6)) if len(data) < 2000 else 4096
    frames = 0
    try:
        while data:
            room = reader.buffer()
            assert 0 < len(room) <= LARGEST
            count = min(step, len(room), len(data))
            room[:count] = data[:count]
            data = data[count:]
            for frame in reader.filled(count):
                conversation.hear(frame)
                frames += 1
    except ProtocolError as error:
        return frames, error.rule
    return frames, ""


def resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123 - a name in /proc
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    "times", [1, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_bent_streams_are_frames_or_a_broken_rule(times):
    frames, rules, before = 0, set(), resident_bytes()
    for part in range(times):
        rng = random.Random(SEED + part)
        for _ in range(STREAMS):
            heard_frames, rule = swallow(rng, stream(rng))
            frames += heard_frames
            rules.add(rule)

    assert frames > STREAMS * times
    assert len(rules) > 100
    assert resident_bytes() - before < 2 * LARGEST + 16 * MIB


def test_fuzz_says_the_same_again():
    first, second = (
        [swallow(rng, stream(rng)) for _ in range(200)]
        for rng in (random.Random(SEED), random.Random(SEED))
    )

    assert first == second
