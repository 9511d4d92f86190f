"""Which frame a child may send in which state, pair by pair."""

from __future__ import annotations

from itertools import product

import pytest

from toril.errors import ProtocolError
from toril.sandbox.frames import CHILD_MAXIMA, FrameType
from toril.sandbox.session import LEGAL, admit
from toril.sandbox.states import State

SETTING_UP = {FrameType.READY, FrameType.FAULT}
SUPERVISORS = set(CHILD_MAXIMA)


def expected(state: State, frame_type: FrameType) -> bool:
    if frame_type in SUPERVISORS:
        return False
    if frame_type in SETTING_UP:
        return state is State.CONFINING
    return state in {State.RUNNING, State.INTERRUPTING}


@pytest.mark.parametrize(("state", "frame_type"), list(product(State, FrameType)))
def test_frame_is_admitted_in_its_states_only(state, frame_type):
    if expected(state, frame_type):
        admit(state, frame_type, 4, 4)
    else:
        with pytest.raises(ProtocolError, match=f"{frame_type.name} frame from a child that is"):
            admit(state, frame_type, 4, 4)


@pytest.mark.parametrize("sequence", [0, 3, 5, 2**64 - 1])
def test_frame_of_another_call_is_refused(sequence):
    with pytest.raises(ProtocolError, match=f"RESULT frame for call {sequence}, expected 4"):
        admit(State.RUNNING, FrameType.RESULT, sequence, 4)


def test_every_frame_type_has_its_row():
    assert set(LEGAL) == set(FrameType)
