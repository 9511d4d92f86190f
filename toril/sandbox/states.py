"""The life of a child as the supervisor sees it: one total table, pure.

A state is what is, not what is wanted: a child that should go after its job is RUNNING, and the
wish to retire it is a field of the handle. Whoever fires DIED or an INTERRUPT has read the child's
socket before, so that a result which was already there is settled first.
`docs/child-states.md` is generated from the table.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Key(enum.Enum):
    """Looked up several times in every call: by identity, which hashes five times as fast."""

    __hash__ = object.__hash__


class State(_Key):
    """Where a child is in its life."""

    REQUESTED = "requested"
    CONFINING = "confining"
    IDLE = "idle"
    RUNNING = "running"
    INTERRUPTING = "interrupting"
    RETIRING = "retiring"
    KILLING = "killing"
    DEAD = "dead"
    REAPED = "reaped"


BUSY = frozenset({State.RUNNING, State.INTERRUPTING})
"""A call is at work."""


class Event(_Key):
    """What can happen to it."""

    FORKED = "the zygote sent its pid and pidfd"
    READY = "READY frame"
    FAULT = "FAULT frame"
    RUN = "given a call"
    WARN = "its soft timeout is over"
    SETTLED = "RESULT or ERROR frame"
    SETTLED_NEXT = "RESULT or ERROR, and its next call lies ready"
    SETTLED_LAST = "RESULT or ERROR of a child that leaves"
    INTERRUPT = "its call has to end"
    RETIRE = "it should go"
    KILL = "it has to go now"
    BROKE = "a frame broke a rule"
    HANGUP = "it closed its socket and lives on"
    TIME_UP = "the time of this state is over"
    DIED = "its pidfd became readable"
    REPORTED = "the zygote reported its end, or cannot any more"


class Action(_Key):
    """What the handle does on the way into the next state."""

    NOTHING = "nothing"
    LISTEN = "open its socket"
    OFFER = "say that it is idle"
    SEND_JOB = "send JOB"
    GO_ON = "it has begun its next call"
    SEND_WARNING = "send CANCEL and SIGTERM, let it go on"
    SEND_CANCEL = "send CANCEL and SIGTERM"
    SEND_STOP = "send STOP"
    KILL = "SIGKILL"
    AWAIT_REPORT = "wait for the zygote's report"
    ACCUSE = "kill the zygote, which does not answer"
    BURY = "settle what it left, let go"
    REJECT = "refuse the caller"


Step = tuple[State, Action]

_KILL: Step = (State.KILLING, Action.KILL)
_BURY: Step = (State.REAPED, Action.BURY)
_DEAD: Step = (State.DEAD, Action.AWAIT_REPORT)
_STOP: Step = (State.RETIRING, Action.SEND_STOP)

_LIVE: Mapping[Event, Step] = {
    Event.KILL: _KILL,
    Event.BROKE: _KILL,
    Event.HANGUP: _KILL,
    Event.TIME_UP: _KILL,
    Event.DIED: _DEAD,
    Event.REPORTED: _BURY,
}
"""What holds in every state of a living child, unless its row says otherwise."""

_ROWS: Mapping[State, Mapping[Event, Step]] = {
    State.REQUESTED: {
        **_LIVE,
        Event.FORKED: (State.CONFINING, Action.LISTEN),
        Event.TIME_UP: (State.REQUESTED, Action.ACCUSE),
    },
    State.CONFINING: {
        **_LIVE,
        Event.READY: (State.IDLE, Action.OFFER),
        Event.FAULT: _KILL,
    },
    State.IDLE: {
        **_LIVE,
        Event.RUN: (State.RUNNING, Action.SEND_JOB),
        Event.RETIRE: _STOP,
    },
    State.RUNNING: {
        **_LIVE,
        Event.WARN: (State.RUNNING, Action.SEND_WARNING),
        Event.SETTLED: (State.IDLE, Action.OFFER),
        Event.SETTLED_NEXT: (State.RUNNING, Action.GO_ON),
        Event.SETTLED_LAST: _STOP,
        Event.INTERRUPT: (State.INTERRUPTING, Action.SEND_CANCEL),
    },
    State.INTERRUPTING: {
        **_LIVE,
        Event.SETTLED: _STOP,
        Event.SETTLED_LAST: _STOP,
    },
    State.RETIRING: {
        **_LIVE,
        Event.HANGUP: (State.RETIRING, Action.NOTHING),
    },
    State.KILLING: {
        Event.FORKED: _KILL,
        Event.KILL: _KILL,
        Event.DIED: _DEAD,
        Event.REPORTED: _BURY,
    },
    State.DEAD: {
        Event.TIME_UP: (State.DEAD, Action.ACCUSE),
        Event.REPORTED: _BURY,
    },
    State.REAPED: {},
}


def _elsewhere(state: State, event: Event) -> Step:
    """What an event means where no row names it: a call is refused, all else is late news."""
    return state, Action.REJECT if event is Event.RUN else Action.NOTHING


TABLE: Mapping[tuple[State, Event], Step] = {
    (state, event): _ROWS[state].get(event, _elsewhere(state, event))
    for state in State
    for event in Event
}
"""(state, event) → (next state, action); total."""


def render_states() -> str:
    """The table as a mermaid diagram: every pair that changes the state or does something."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.REQUESTED.value}: fork"]
    for state in State:
        ways: dict[Step, list[str]] = {}
        for event in Event:
            step = TABLE[state, event]
            if step[1] is not Action.REJECT and step != (state, Action.NOTHING):
                ways.setdefault(step, []).append(event.name)
        lines += [
            f"    {state.value} --> {target.value}: {', '.join(events)} / {action.value}"
            for (target, action), events in ways.items()
        ]
    lines += [f"    {State.REAPED.value} --> [*]", "```"]
    return "\n".join(lines)
