"""A new job is checked completely before anything is sent, and stored as Node would store it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from toril.errors import (
    DataTooLarge,
    InvalidInput,
    InvalidJobData,
    InvalidJobId,
    InvalidOption,
)
from toril.runtime.newjob import MAX_PRIORITY, NewJob
from toril.runtime.numbers import MAX_TIME_MS
from toril.runtime.options import Backoff, KeepRule
from toril.runtime.preparing import OptionsInUse, prepare, prepared_job
from toril.sizes import MAX_DATA_BYTES, MAX_OPTS_BYTES


def stored_opts(**options):
    return json.loads(prepare(NewJob("name", **options)).options.text)


def test_a_plain_job_has_only_attempts_in_its_options():
    prepared = prepare(NewJob("name", {"ä": [1, 1.5, None, True]}))
    assert json.loads(prepared.options.text) == {"attempts": 0}
    assert prepared.data == '{"ä":[1,1.5,null,true]}'.encode()
    options = prepared.options
    assert (options.custom_id, options.timestamp, options.delay_ms) == ("", "", 0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"job_id": "a-1"}, {"jobId": "a-1"}),
        ({"delay": "10s"}, {"delay": 10_000}),
        ({"delay": timedelta(milliseconds=1)}, {"delay": 1}),
        ({"priority": 5}, {"priority": 5}),
        ({"priority": 0}, {"priority": 0}),
        ({"lifo": True}, {"lifo": True}),
        ({"attempts": 3}, {"attempts": 3}),
        ({"backoff": "1s"}, {"backoff": {"type": "fixed", "delay": 1000}}),
        ({"backoff": Backoff.named("mine", "1s")}, {"backoff": {"type": "mine", "delay": 1000}}),
        ({"backoff": Backoff.named("mine")}, {"backoff": {"type": "mine", "delay": 0}}),
        (
            {"backoff": Backoff.exponential("1s", jitter=0.5)},
            {"backoff": {"type": "exponential", "delay": 1000, "jitter": 0.5}},
        ),
        ({"remove_on_complete": True}, {"removeOnComplete": True}),
        ({"remove_on_complete": 0}, {"removeOnComplete": 0}),
        ({"remove_on_fail": False}, {"removeOnFail": False}),
        (
            {"remove_on_fail": KeepRule(count=5, age_s=60)},
            {"removeOnFail": {"count": 5, "age": 60, "limit": 1000}},
        ),
        ({"keep_logs": 2}, {"kl": 2}),
        ({"stack_trace_limit": 0}, {"stackTraceLimit": 0}),
        ({"size_limit": 100}, {"sizeLimit": 100}),
        ({"timestamp": 17}, {"timestamp": 17}),
        (
            {"timestamp": datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))},
            {"timestamp": 0},
        ),
    ],
)
def test_options_are_stored_under_bullmq_names_and_only_if_given(options, expected):
    assert stored_opts(**options) == {"attempts": 0, **expected}


@pytest.mark.parametrize(
    "options",
    [
        {"priority": -1},
        {"priority": MAX_PRIORITY + 1},
        {"priority": 1.0},
        {"priority": True},
        {"attempts": 0},
        {"keep_logs": -1},
        {"stack_trace_limit": 1.5},
        {"size_limit": 0},
        {"attempts": -1},
        {"attempts": 2.5},
        {"delay": timedelta(seconds=-1)},
        {"delay": 10},
        {"delay": "soon"},
        {"lifo": 1},
        {"backoff": 1000},
        {"backoff": {"type": "fixed"}},
        {"backoff": "quickly"},
        {"remove_on_complete": -1},
        {"remove_on_complete": "yes"},
        {"remove_on_complete": KeepRule(count="5")},  # type: ignore[arg-type]
        {"remove_on_complete": KeepRule(count=-2)},
        {"remove_on_fail": KeepRule(age_s="1h")},  # type: ignore[arg-type]
        {"remove_on_fail": KeepRule(age_s=float("nan"))},
        {"remove_on_fail": KeepRule(age_s=-1)},
        {"remove_on_fail": KeepRule(age_s=1, limit=0)},
        {"remove_on_fail": 1.5},
        {"timestamp": -1},
        {"timestamp": 1.5},
        {"timestamp": MAX_TIME_MS + 1},
        {"timestamp": MAX_TIME_MS, "delay": "1s"},
        {"timestamp": datetime(2030, 1, 1)},  # noqa: DTZ001 - that is the mistake
    ],
)
def test_options_outside_their_range_are_refused(options):
    with pytest.raises(InvalidOption, match=next(reversed(options))):
        prepare(NewJob("name", **options))


def test_the_edges_of_the_ranges_pass():
    assert stored_opts(priority=MAX_PRIORITY)["priority"] == MAX_PRIORITY
    assert stored_opts(timestamp=MAX_TIME_MS)["timestamp"] == MAX_TIME_MS


@pytest.mark.parametrize("name", ["", None, 7, "\ud800", "ä" * 2049])
def test_a_job_needs_a_name(name):
    with pytest.raises(InvalidInput, match="job name"):
        prepare(NewJob(name))


def test_a_bad_id_is_refused():
    with pytest.raises(InvalidJobId):
        prepare(NewJob("name", job_id="12"))


def test_options_over_their_size_are_refused():
    with pytest.raises(InvalidOption, match=str(MAX_OPTS_BYTES)):
        prepare(NewJob("name", backoff=Backoff("x" * MAX_OPTS_BYTES, 0)))


def circular():
    loop: list = []
    loop.append(loop)
    return loop


def deep():
    nest: list = []
    for _ in range(100_000):
        nest = [nest]
    return nest


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (float("nan"), "data is nan"),
        ({"a": [0, float("inf")]}, r"data\['a'\]\[1\] is inf"),
        ({"a": {1, 2}}, r"data\['a'\] is of type set"),
        ({"when": datetime.now(UTC)}, r"data\['when'\] is of type datetime"),
        ([b"raw"], r"data\[0\] is of type bytes"),
        ({"a": "\ud800"}, r"data\['a'\] is text with a lone surrogate"),
        ({"\udfff": 1}, "the key .* of data is text with a lone surrogate"),
        ({(1, 2): 1}, "the key .* of data is of type tuple"),
        ({float("nan"): 1}, "the key nan of data is of type float"),
        ({1: 2}, "the key 1 of data is of type int; JSON's keys are text"),
        (
            [{"a": ({"b": {None: 1}},)}],
            r"the key None of data\[0\]\['a'\]\[0\]\['b'\] is of type NoneType",
        ),
        ({True: 1}, "the key True of data is of type bool"),
        (circular(), "Circular"),
        (deep(), "too deeply"),
    ],
)
def test_data_that_is_not_json_says_where(data, said):
    with pytest.raises(InvalidJobData, match=said):
        prepare(NewJob("name", data))


def test_data_is_measured_in_bytes_of_json():
    at_limit = "ä" * ((MAX_DATA_BYTES - 2) // 2)
    assert len(prepare(NewJob("name", at_limit)).data) == MAX_DATA_BYTES
    with pytest.raises(DataTooLarge, match="expected at most 16 MiB") as caught:
        prepare(NewJob("name", at_limit + "x"))
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (MAX_DATA_BYTES + 1, 16 * 2**20)


def test_no_data_is_an_empty_object():
    assert prepare(NewJob("name")).data == b"{}"


def test_defaults_fill_only_what_a_job_leaves_open():
    options = OptionsInUse({"lifo": True, "attempts": 5, "priority": 3})
    filled = options.of(NewJob("name", lifo=False, attempts=2))
    assert json.loads(filled.text) == {"lifo": False, "attempts": 2, "priority": 3}


def test_options_that_jobs_have_in_common_are_prepared_once():
    options = OptionsInUse({"attempts": 2})
    first = options.of(NewJob("a", priority=7))
    assert options.of(NewJob("b", priority=7)) is first
    assert json.loads(options.of(NewJob("c")).text) == {"attempts": 2}


def test_options_that_are_equal_but_not_the_same_are_checked_again():
    """1 equals True, which is no number of attempts."""
    options = OptionsInUse({})
    options.of(NewJob("a", attempts=1))
    with pytest.raises(InvalidOption, match="attempts is True"):
        options.of(NewJob("b", attempts=True))


def test_data_over_the_jobs_own_limit_is_refused_by_its_bytes():
    assert prepare(NewJob("n", "é" * 10, size_limit=22)).data
    with pytest.raises(DataTooLarge, match="22 bytes"):
        prepare(NewJob("n", "é" * 10, size_limit=21))


def test_jobs_own_limit_does_not_widen_the_queues():
    with pytest.raises(DataTooLarge):
        prepared_job("n", "x" * 100, prepare(NewJob("n", size_limit=1000)).options, 50)
