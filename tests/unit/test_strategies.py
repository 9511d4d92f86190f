"""Back-off strategies: which are taken, when they are asked, what counts as an answer."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from toril import Backoff, NewJob
from toril.errors import ProcessorImportError
from toril.runtime.followup import prepare_follow_up
from toril.runtime.preparing import prepare
from toril.sandbox.asking import add_request
from toril.sandbox.job import SandboxedJob
from toril.sandbox.strategies import Advice, ask, resolve


def linear(attempts_made, error, job):
    return f"{attempts_made * len(str(error)) * job.data}ms"


def two(attempts_made, error):
    return attempts_made, error


def stream(attempts_made, error, job):
    yield attempts_made, error, job


good = {"linear": linear}
built_in = {"fixed": linear}
not_text = {5: linear}
not_callable = {"linear": "10s"}
two_parameters = {"linear": two}
generator = {"linear": stream}
empty: dict[str, object] = {}
plain = linear


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("built_in", "is named 'fixed', expected a text other than exponential and fixed"),
        ("not_text", "is named 5, expected a text"),
        ("not_callable", r"\['linear'\] is of type str, expected a function"),
        ("two_parameters", "cannot be called with attempts_made, error and job"),
        ("generator", "is a generator"),
        ("empty", "empty mapping, expected a mapping that is not empty"),
        ("plain", "of type function, expected a mapping"),
        ("goot", "did you mean 'good'"),
    ],
)
def test_what_are_no_strategies_is_refused_with_a_remedy(name, words):
    with pytest.raises(ProcessorImportError, match=words):
        resolve(f"{__name__}:{name}")


class Wire:
    running = False


def job(backoff: object = None, made: int = 1, attempts: object = 5) -> SandboxedJob:
    opts = {"attempts": attempts, "backoff": {"type": "linear"} if backoff is None else backoff}
    fields = {"id": "1", "name": "n", "queue": "q", "attempts_made": made, "attempts_started": 1}
    header = json.dumps(fields | {"timestamp": 0, "opts": opts}).encode()
    return SandboxedJob(header, b"10", None, 1)


def asked(strategies, of=None) -> Advice | None:
    wire = Wire()
    advice = ask(strategies, of or job(), ValueError("four"), wire, lambda: None)
    assert not wire.running
    return advice


def answering(value):
    def strategy(*_):
        if isinstance(value, BaseException):
            raise value
        return value

    return {"linear": strategy}


def test_it_is_asked_with_the_number_of_the_attempt_the_error_and_the_job():
    assert asked(resolve(f"{__name__}:good")) == Advice(2 * 4 * 10)


@pytest.mark.parametrize(
    ("value", "delay_ms"),
    [
        ("10s", 10_000),
        (timedelta(seconds=1), 1000),
        ("0s", 0),
        (0, 0),
        (None, 0),
        (-1, -1),
    ],
)
def test_an_answer_is_a_duration_or_one_of_bullmqs_two_numbers(value, delay_ms):
    assert asked(answering(value)) == Advice(delay_ms)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (5, "its answer is 5; expected a duration such as '10s'"),
        (1.5, "its answer is 1.5"),
        (False, "its answer is False"),
        ("soon", "its answer is 'soon'"),
        ("11000d", "10 years"),
        (timedelta(seconds=-1), "its answer is"),
        (KeyError("x"), "it raised KeyError: 'x'"),
        (SystemExit(3), "it raised SystemExit: 3"),
    ],
)
def test_what_is_no_answer_is_said_in_the_jobs_log(value, words, capsys):
    advice = asked(answering(value))
    assert advice.delay_ms is None
    assert "back-off strategy 'linear': " in advice.fault
    assert words in advice.fault
    assert f"{advice.fault}. The job waits its delay" in capsys.readouterr().err


def test_error_that_cannot_be_said_is_no_answer_either():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    assert "it raised RuntimeError" in asked(answering(Mute())).fault


@pytest.mark.parametrize(
    ("strategies", "words"),
    [({}, "this worker has none, see --backoff"), ({"liner": linear}, "did you mean 'liner'?")],
)
def test_a_name_that_nobody_defines_is_told(strategies, words):
    advice = asked(strategies)
    assert advice.delay_ms is None
    assert "there is no such strategy" in advice.fault
    assert words in advice.fault


@pytest.mark.parametrize(
    "of",
    [
        job({"type": "fixed", "delay": 5}),
        job({"type": "exponential", "delay": 5}),
        job(5),
        job({"delay": 5}),
        job({"type": ["linear"]}),
        job(made=4),
        job(attempts=0),
    ],
)
def test_nobody_is_asked_where_the_job_names_none_or_is_not_retried(of):
    assert asked(answering(-1), of) is None


def test_a_processor_that_changed_its_options_is_not_trusted():
    changed = job()
    changed.opts = None
    assert asked(answering(-1), changed) is None


def test_a_running_jobs_job_may_name_a_strategy():
    given = Backoff.named("mine", "1s")
    asked = json.loads(add_request("n", {}, {"backoff": given}))["payload"]
    followed = prepare_follow_up(asked["name"], b"{}", asked["options"])
    assert followed.options.text == prepare(NewJob("n", backoff=given)).options.text
