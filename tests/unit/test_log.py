"""Events become words in one place, and every event has some."""

from __future__ import annotations

import io
import json
import typing
from dataclasses import fields

import pytest

from toril import events as ev
from toril.log import Log, event_name

EVENTS = typing.get_args(ev.Event)
SAMPLES = {
    "str": "text",
    "int": 7,
    "int | None": None,
    "tuple[str, ...]": ("1", "2"),
}


def sample(kind: type) -> ev.Event:
    return kind(**{field.name: SAMPLES[str(field.type)] for field in fields(kind)})


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("as_json", [False, True])
def test_every_event_is_one_line(kind, as_json):
    stream = io.StringIO()
    Log(stream, as_json=as_json)(sample(kind))
    (line,) = stream.getvalue().splitlines()
    if as_json:
        record = json.loads(line)
        assert record["event"] == event_name(sample(kind))
        assert record["level"] in {"INFO", "WARNING", "ERROR"}
        assert {"time", "level", "event", "message"}.isdisjoint(f.name for f in fields(kind))
    else:
        assert "text" in line


def test_stream_that_is_gone_does_not_stop_the_work():
    stream = io.StringIO()
    stream.close()
    Log(stream)(sample(ev.LockLost))
