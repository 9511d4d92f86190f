"""Flags and environment become one settings value, or one clear refusal."""

from __future__ import annotations

import math

import pytest

from toril.errors import InvalidInput
from toril.runtime.limiter import RateLimit
from toril.supervisor.cli import _parser
from toril.supervisor.pool import MAX_DELAY_S, backoff_s
from toril.supervisor.run import settings_of

BASE = ["run", "--queue", "images", "--processor", "app:run", "--redis", "redis://localhost"]


def settings(*flags: str):
    return settings_of(_parser().parse_args([*BASE, *flags]))


def test_every_flag_arrives():
    found = settings(
        *("--concurrency", "4", "--lock-duration", "20s", "--stalled-interval", "5s"),
        *("--rate-limit", "200/60s", "--burst", "10", "--timeout", "5m", "--memory", "512MiB"),
        *("--result-size", "2MiB", "--output-size", "64KiB", "--jobs-per-child", "9"),
        *("--max-crashes", "2", "--on-crash", "fail", "--env", "A", "--env", "B"),
        *("--drain-timeout", "60s", "--until-empty", "--prefix", "p"),
    )
    (queue,) = found.queues
    assert (found.prefix, found.drain_timeout_ms, found.until_empty) == ("p", 60_000, True)
    assert (queue.concurrency, queue.lock_ms, queue.stalled_interval_ms) == (4, 20_000, 5_000)
    assert queue.rate_limit == RateLimit(200, 60_000, 10)
    assert (queue.max_crashes, queue.on_crash, queue.env) == (2, "fail", ("A", "B"))
    limits = queue.limits
    assert (limits.timeout_s, limits.memory_bytes, limits.max_jobs) == (300, 2**29, 9)
    assert (limits.result_bytes, limits.output_bytes) == (2**21, 2**16)


def test_server_comes_from_the_environment_when_no_flag_names_it(monkeypatch):
    monkeypatch.setenv("TORIL_REDIS_URL", "redis://:secret@elsewhere")
    parsed = _parser().parse_args(BASE[:-2])
    assert settings_of(parsed).redis == "redis://:secret@elsewhere"
    assert settings().redis == "redis://localhost"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--concurrency", "x"], "whole number"),
        (["--burst", "5"], "--rate-limit"),
        (["--level", "paranoid"], "process"),
        (["--queue", "image:optimize"], "image-optimize"),
        (["--redis", "redis://u:p@h"], "TORIL_REDIS_URL"),
        (["--lock-duration", "10ms"], "at least 500"),
        (["--timeout", "0s"], "timeout"),
        (["--memory", "0B"], "memory"),
        (["--jobs-per-child", "0"], "jobs"),
    ],
)
def test_bad_value_is_refused_before_anything_starts(flags, words):
    with pytest.raises(InvalidInput, match=words):
        settings(*flags)


def test_children_that_die_in_a_row_are_replaced_ever_more_slowly():
    delays = [backoff_s(failures) for failures in range(40)]
    assert delays[:5] == [0, 0, 0.1, 0.2, 0.4]
    assert delays == sorted(delays)
    assert math.isclose(delays[-1], MAX_DELAY_S)
