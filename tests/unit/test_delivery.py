"""From a path to listeners, and what is said when it names something else."""

from __future__ import annotations

import json

import pytest

from toril.errors import ProcessorImportError
from toril.listeners import EVENTS, Active
from toril.sandbox.delivery import resolve
from toril.sandbox.job import SandboxedJob


def heard(event):
    HEARD.append(event)


def nothing():
    pass


def stream(event):
    yield event


HEARD: list[object] = []
good = {"active": heard, "completed": heard}
typo = {"complete": heard}
not_text = {5: heard}
not_callable = {"completed": "heard"}
no_parameter = {"completed": nothing}
generator = {"completed": stream}
empty: dict[str, object] = {}
plain = heard


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("typo", "'complete', which there is not .did you mean 'completed'"),
        ("not_text", "event 5, which there is not.*Expected active, progress"),
        ("not_callable", r"\['completed'\] is of type str, expected a function"),
        ("no_parameter", "cannot be called with one argument, the event"),
        ("generator", "is a generator"),
        ("empty", "empty mapping"),
        ("plain", "is of type function, expected a mapping"),
        ("goods", "did you mean 'good'"),
    ],
)
def test_what_are_no_listeners_is_refused_with_a_remedy(name, words):
    with pytest.raises(ProcessorImportError, match=words):
        resolve(f"{__name__}:{name}")


def test_a_path_without_an_attribute_is_refused():
    with pytest.raises(ProcessorImportError, match="module:attribute"):
        resolve(__name__)


class Wire:
    """Notes the frames that a job sends."""

    def __init__(self):
        self.sent = []

    def send(self, frame_type, _sequence, payload=b""):
        self.sent.append((frame_type.name, payload))


def test_the_number_of_every_event_but_the_first_goes_out_before_it():
    about = {"queue": "q", "job_id": "1", "name": "n", "attempt": 1, "at_ms": 0}
    texts = [json.dumps({"event": "active"} | about), json.dumps({"event": "stalled"}), ""]
    texts[2] = texts[0]
    header = {"id": "", "name": "events", "queue": "q", "attempts_made": 0, "timestamp": 0}
    wire = Wire()
    job = SandboxedJob(
        json.dumps(header | {"attempts_started": 0}).encode(), json.dumps(texts).encode(), wire, 1
    )
    HEARD.clear()
    listeners = resolve(f"{__name__}:good")
    listeners.find("events")(job)
    assert listeners.hears == ("active", "completed")
    assert [Active(**about)] * 2 == HEARD
    assert wire.sent == [("PROGRESS", b"1"), ("PROGRESS", b"2")]


def test_every_event_has_a_class_of_its_own():
    assert len(set(EVENTS.values())) == len(EVENTS)
