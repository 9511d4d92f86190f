"""The child's state table, all pairs, and the page that shows it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from toril.sandbox.states import TABLE, Action, Event, State, render_states

PAGE = Path(__file__).parents[2] / "docs" / "child-states.md"
PAIRS = list(product(State, Event))
LIVE = set(State) - {State.KILLING, State.DEAD, State.REAPED}
BUSY = {State.RUNNING, State.INTERRUPTING}


def where(action: Action) -> set[tuple[State, Event]]:
    return {pair for pair, (_, done) in TABLE.items() if done is action}


def test_table_is_total():
    assert set(TABLE) == set(PAIRS)


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_pair_keeps_the_rules(state, event):
    target, action = TABLE[state, event]

    if state is State.REAPED:
        assert target is State.REAPED, "nothing comes after the end"
        assert action in {Action.NOTHING, Action.REJECT}
    if state in {State.KILLING, State.DEAD}:
        assert target in {state, State.DEAD, State.REAPED}, "a killed child does not come back"
    is_zygotes = state is State.REQUESTED and event is Event.TIME_UP
    if state in LIVE and event in {Event.KILL, Event.BROKE, Event.TIME_UP} and not is_zygotes:
        assert (target, action) == (State.KILLING, Action.KILL)
    if event is Event.REPORTED and state is not State.REAPED:
        assert (target, action) == (State.REAPED, Action.BURY), "a report ends every state"
    if event is Event.RUN and state is not State.IDLE:
        assert (target, action) == (state, Action.REJECT)
    if event in {Event.SETTLED, Event.SETTLED_LAST} and state not in BUSY:
        assert (target, action) == (state, Action.NOTHING), "only a running call settles"
    if target is not state and target is State.RUNNING:
        assert (state, event) == (State.IDLE, Event.RUN)
    assert (target is State.KILLING and state is not State.KILLING) <= (action is Action.KILL)
    assert (target is State.REAPED and state is not State.REAPED) == (action is Action.BURY)


def test_child_is_buried_from_everywhere_but_once():
    assert {state for state, _ in where(Action.BURY)} == set(State) - {State.REAPED}


def test_zygote_that_does_not_answer_is_accused():
    """It owes an answer to a fork request, and a report of every death."""
    silent = {State.REQUESTED, State.DEAD}
    assert where(Action.ACCUSE) == {(state, Event.TIME_UP) for state in silent}


def test_soft_timeout_lets_the_call_run_on():
    assert where(Action.SEND_WARNING) == {(State.RUNNING, Event.WARN)}
    assert TABLE[State.RUNNING, Event.WARN][0] is State.RUNNING


def test_job_is_sent_from_idle_only():
    assert where(Action.SEND_JOB) == {(State.IDLE, Event.RUN)}


def test_call_is_interrupted_once():
    assert where(Action.SEND_CANCEL) == {(State.RUNNING, Event.INTERRUPT)}


def test_interrupted_child_is_never_offered_again():
    assert {state for state, _ in where(Action.OFFER)} == {State.CONFINING, State.RUNNING}


def test_every_state_can_be_reached():
    reached, new = set(), {State.REQUESTED}
    while new:
        reached |= new
        new = {target for (state, _), (target, _) in TABLE.items() if state in reached} - reached
    assert reached == set(State)


def test_page_shows_the_table():
    """Regenerate: python -c "from toril.sandbox.states import render_states as r; print(r())"."""
    text = PAGE.read_text(encoding="utf-8")
    shown = text.partition("<!-- states: begin -->\n")[2].partition("\n<!-- states: end -->")[0]

    assert shown == render_states()
