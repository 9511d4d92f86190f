"""Who may send which frame when, and for which call: a table, no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toril.errors import ProtocolError
from toril.sandbox.frames import FrameType
from toril.sandbox.states import BUSY, State

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONFINING = frozenset({State.CONFINING})

LEGAL: Mapping[FrameType, frozenset[State]] = {
    FrameType.JOB: frozenset(),
    FrameType.CANCEL: frozenset(),
    FrameType.STOP: frozenset(),
    FrameType.REPLY: frozenset(),
    FrameType.READY: _CONFINING,
    FrameType.FAULT: _CONFINING,
    FrameType.PROGRESS: BUSY,
    FrameType.LOG: BUSY,
    FrameType.RESULT: BUSY,
    FrameType.ERROR: BUSY,
    FrameType.LAST: BUSY,
    FrameType.UPDATE_DATA: BUSY,
    FrameType.CALL: BUSY,
    FrameType.USAGE: BUSY,
    FrameType.CHECKPOINT: BUSY,
    FrameType.RECORD: BUSY,
}
"""Frame type → the states in which a child may send it; what only the supervisor sends: never."""


def admit(state: State, frame_type: FrameType, sequence: int, current: int) -> None:
    """Let a child's frame pass, or name the rule it breaks.

    Args:
        state: the child's state when the frame is read.
        frame_type: the frame's type.
        sequence: the call it says it belongs to.
        current: the call this child holds; 0 when it holds none.

    Raises:
        ProtocolError: the frame is not legal in this state, or belongs to another call.
    """
    if state not in LEGAL[frame_type]:
        raise ProtocolError(f"{frame_type.name} frame from a child that is {state.value}")
    if sequence != current:
        raise ProtocolError(f"{frame_type.name} frame for call {sequence}, expected {current}")
