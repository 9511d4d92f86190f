"""What is read of stored telemetry, what is stored, what goes on."""

from __future__ import annotations

import json

import pytest

from toril import InvalidInput, NewJob, Telemetry
from toril.runtime.followup import prepare_follow_up
from toril.runtime.preparing import prepare
from toril.sandbox.asking import add_request


@pytest.mark.parametrize(
    ("opts", "expected"),
    [
        ({}, None),
        ({"omc": False}, None),
        ({"omc": True}, Telemetry(omit_context=True)),
        ({"tm": "x"}, Telemetry("x")),
        ({"tm": "x", "omc": False}, Telemetry("x")),
        ({"tm": "x", "omc": True}, Telemetry("x", omit_context=True)),
        ({"tm": 5}, None),
        ({"tm": ["x"], "omc": 1}, Telemetry(omit_context=True)),
    ],
)
def test_whatever_stands_in_the_options_is_read(opts, expected):
    assert Telemetry.of(opts) == expected


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("x", {"tm": "x"}),
        (Telemetry("x"), {"tm": "x"}),
        (Telemetry("x", omit_context=True), {"tm": "x", "omc": True}),
        (Telemetry(), {}),
        (None, {}),
    ],
)
def test_what_is_given_is_stored_in_bullmqs_names(given, stored):
    opts = json.loads(prepare(NewJob("n", telemetry=given)).options.text)
    assert {name: opts[name] for name in opts if name in {"tm", "omc"}} == stored


@pytest.mark.parametrize(
    "given", [5, {"metadata": "x"}, Telemetry(5), Telemetry("\ud800"), Telemetry(omit_context=1)]
)
def test_what_cannot_be_telemetry_is_refused(given):
    with pytest.raises(InvalidInput, match="telemetry"):
        prepare(NewJob("n", telemetry=given))


@pytest.mark.parametrize("given", ["x", Telemetry("x", omit_context=True), None])
def test_a_running_jobs_job_is_stored_as_a_producers(given):
    asked = json.loads(add_request("n", {}, {"telemetry": given}))["payload"]
    followed = prepare_follow_up(asked["name"], b"{}", asked["options"])
    assert followed.options.text == prepare(NewJob("n", telemetry=given)).options.text


def test_only_what_may_be_handed_on_is():
    assert Telemetry("x").handed_on() == Telemetry("x")
    assert Telemetry("x", omit_context=True).handed_on() is None
    assert Telemetry().handed_on() is None
