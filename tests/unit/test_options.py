"""Stored options of whatever producer are read; back-offs and keep rules are normalised."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toril.errors import InvalidOption
from toril.runtime.options import KEEP_ALL, Backoff, JobOpts, KeepRule, parse_opts
from toril.units import MAX_DURATION_MS


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"repeat":{"every":1},"tm":"x","foo":[1,{}]}'])
def test_what_is_not_ours_is_ignored(raw):
    assert parse_opts(raw) == JobOpts()


@pytest.mark.parametrize(
    ("attempts", "expected"), [(3, 3), ("3", 3), (3.0, 3), (2.5, 3), (None, 0), (10**30, 2**31 - 1)]
)
def test_attempts_are_read_as_node_counts_them(attempts, expected):
    assert parse_opts(json.dumps({"attempts": attempts}).encode()).attempts == expected


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (1000, Backoff("fixed", 1000)),
        ({"type": "exponential", "delay": 100, "jitter": 0.5}, Backoff("exponential", 100, 0.5)),
        ({"type": "custom"}, Backoff("custom", 0)),
        ({"type": "fixed", "delay": 1e300, "jitter": 7}, Backoff("fixed", MAX_DURATION_MS, 1.0)),
        ({"delay": -5}, Backoff("fixed", 0)),
        (None, None),
    ],
)
def test_backoff_is_normalised(stored, expected):
    assert parse_opts(json.dumps({"backoff": stored}).encode()).backoff == expected


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (True, KeepRule(count=0)),
        (False, KeepRule(count=KEEP_ALL)),
        (5, KeepRule(count=5)),
        (-1, KeepRule(count=KEEP_ALL)),
        ({"age": 3600}, KeepRule(KEEP_ALL, 3600)),
        ({"count": 3, "age": 1.5, "limit": 10}, KeepRule(3, 1.5, 10)),
        (None, None),
    ],
)
@pytest.mark.parametrize("name", ["removeOnComplete", "removeOnFail"])
def test_keep_rules_are_normalised(name, stored, expected):
    opts = parse_opts(json.dumps({name: stored}).encode())
    found = opts.remove_on_complete if name == "removeOnComplete" else opts.remove_on_fail
    assert found == expected


def test_short_names_and_flags_are_read():
    opts = parse_opts(b'{"kl":2,"stackTraceLimit":0,"lifo":true}')
    assert (opts.keep_logs, opts.stack_trace_limit, opts.lifo) == (2, 0, True)
    assert parse_opts(b'{"kl":0}').keep_logs is None


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b"null",
        b"{",
        b"\xff",
        b'{"attempts":{}}',
        b'{"attempts":1e999}',
        b'{"attempts":"nan"}',
        b'{"backoff":{"type":"fixed","jitter":"nan"}}',
        b'{"backoff":"soon"}',
        b'{"removeOnFail":[]}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_unreadable_options_say_why(raw):
    with pytest.raises(ValueError, match="options are"):
        parse_opts(raw)


@given(st.binary() | st.text().map(str.encode))
def test_no_bytes_raise_anything_but_value_error(raw):
    with suppress(ValueError):
        assert isinstance(parse_opts(raw), JobOpts)


@pytest.mark.parametrize("name", ["fixed", "exponential", "", 5, None])
def test_what_cannot_name_a_strategy_is_refused(name):
    with pytest.raises(InvalidOption, match="expected the name of a strategy"):
        Backoff.named(name)


def test_backoff_is_stored_as_bullmq_has_it():
    assert Backoff.fixed("1s").as_stored() == {"type": "fixed", "delay": 1000}
    exponential = Backoff.exponential(timedelta(seconds=2), jitter=0.5)
    assert exponential.as_stored() == {"type": "exponential", "delay": 2000, "jitter": 0.5}


@pytest.mark.parametrize("jitter", [-0.1, 1.1, True, "0.5", None, float("nan")])
def test_jitter_outside_its_range_is_refused(jitter):
    with pytest.raises(InvalidOption, match="jitter"):
        Backoff.fixed("1s", jitter=jitter)
