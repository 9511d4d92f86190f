"""Flags and environment become one settings value, or one clear refusal."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from toril.cli.run import settings_of
from toril.cli.verbs import parser as _parser
from toril.errors import InvalidInput
from toril.runtime.limiter import RateLimit
from toril.runtime.options import KEEP_ALL, KeepRule
from toril.sandbox.allow import Allow
from toril.sandbox.levels import Level
from toril.sandbox.limits import Limits
from toril.supervisor.pool import MAX_DELAY_S, backoff_s
from toril.supervisor.settings import QueueSettings, Settings

BASE = ["run", "--queue", "images", "--processor", "app:run", "--redis", "redis://localhost"]


def settings(*flags: str):
    return settings_of(_parser().parse_args([*BASE, *flags]))


def test_every_flag_arrives():
    found = settings(
        *("--concurrency", "4", "--lock-duration", "20s", "--stalled-interval", "5s"),
        *("--rate-limit", "200/60s", "--burst", "10", "--timeout", "5m", "--memory", "512MiB"),
        *("--result-size", "2MiB", "--output-size", "64KiB", "--jobs-per-child", "9"),
        *("--max-crashes", "2", "--on-crash", "fail", "--env", "A", "--env", "B"),
        *("--listeners", "app:heard", "--listener-timeout", "2s"),
        *("--backoff", "app:waits"),
        *("--drain-timeout", "60s", "--until-empty", "--prefix", "p", "--name", "one"),
        *("--max-started-attempts", "7", "--metrics", "60"),
        *("--remove-on-complete", "1000,24h", "--remove-on-fail", "0"),
    )
    (queue,) = found.queues
    assert (found.prefix, found.drain_timeout_ms, found.until_empty) == ("p", 60_000, True)
    assert (queue.concurrency, queue.lock_ms, queue.stalled_interval_ms) == (4, 20_000, 5_000)
    assert queue.rate_limit == RateLimit(200, 60_000, 10)
    assert (queue.listeners, queue.listener_timeout_s) == ("app:heard", 2)
    assert queue.backoff == "app:waits"
    assert found.worker_name == "one"
    assert (queue.max_started_attempts, queue.metrics_size) == (7, 60)
    assert queue.keep_completed == KeepRule(1000, age_s=86_400)
    assert queue.keep_failed == KeepRule(0)
    assert (queue.max_crashes, queue.on_crash, queue.allow.env) == (2, "fail", ("A", "B"))
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
        (["--concurrency", "x"], "--concurrency is 'x'; expected a whole number"),
        (["--concurrency", "²"], "--concurrency is '²'; expected a whole number"),
        (["--concurrency", "٣"], "--concurrency is '٣'; expected a whole number"),
        (["--concurrency", "9" * 5000], "expected a whole number"),
        (["--concurrency", "0"], "--concurrency is '0'; expected at least 1"),
        (["--max-stalled", "-1"], "--max-stalled"),
        (["--burst", "5"], "--rate-limit"),
        (["--rate-limit", "5/s", "--burst", "0"], "--burst is '0'; expected"),
        (["--level", "paranoid"], "process"),
        (["--level", "strict", "--allow-exec"], "--allow-exec is True; expected it unset"),
        (["--child-uid", "0"], "--child-uid is '0'; expected at least 1"),
        (["--queue", "image:optimize"], "image-optimize"),
        (["--prefix", ""], "--prefix is ''; expected text"),
        (["--redis", "redis://u:p@h"], "TORIL_REDIS_URL"),
        (["--redis", "redis://h?password=p"], "TORIL_REDIS_URL"),
        (["--redis", "unix:///s?username=p"], "TORIL_REDIS_URL"),
        (["--redis", "redis://localhost:99999"], "65535"),
        (["--redis", "redis://localhost/abc"], "database"),
        (["--redis", "redis://[::1"], "cannot be read"),
        (["--lock-duration", "10ms"], "--lock-duration is '10ms'; expected at least 500 ms"),
        (["--stalled-interval", "0s"], "--stalled-interval is '0s'; expected at least 100 ms"),
        (["--timeout", "0s"], "--timeout is '0s'; expected more than 0"),
        (["--memory", "0B"], "--memory is '0B'; expected"),
        (["--memory", "15MiB"], "--memory is '15MiB'; expected at least 16 MiB"),
        (["--result-size", "0B"], "--result-size"),
        (["--output-size", "0B"], "--output-size"),
        (["--jobs-per-child", "0"], "--jobs-per-child is '0'; expected"),
        (["--max-crashes", "0"], "--max-crashes is '0'; expected at least 1"),
        (["--max-started-attempts", "0"], "--max-started-attempts is '0'; expected at least 1"),
        (["--metrics", "20161"], "--metrics is '20161'; expected 0 to 20160"),
        (["--name", "two words"], "--name is 'two words'; expected printable ASCII"),
        (["--name", ""], "--name is ''; expected printable ASCII"),
        (
            ["--remove-on-complete", "1,2"],
            "--remove-on-complete is '1,2'; expected how many",
        ),
        (["--remove-on-fail", "some"], "--remove-on-fail is 'some'; expected how many jobs stay"),
        (["--on-crash", "maybe"], "--on-crash is 'maybe'; expected 'retry' or 'fail'"),
        (["--env", "A=secret"], "--env gives 'A' a value; expected NAME"),
        (["--env", ""], "expected NAME"),
        (["--env", "REDIS_URL"], "--env names 'REDIS_URL'"),
        (["--processor", "nonsense"], '--processor is .*"module:attribute"'),
        (["--processor", "./syn.py:f"], 'a module, not a file: "syn:f"'),
        (["--processor", "syn.py:f"], 'a module, not a file: "syn:f"'),
        (["--processor", "../app/images.py:f"], 'not a file: "app.images:f"'),
        (["--processor", "/:f"], 'not a file: "myapp:f"'),
        (["--backoff", "5s"], "--backoff is '5s'; expected .*module:attribute"),
        (["--listeners", "heard.py:f"], '--listeners is .*not a file: "heard:f"'),
        (["--listener-timeout", "0s"], "--listener-timeout is '0s'; expected more than 0"),
    ],
)
def test_bad_value_is_refused_in_the_users_words_before_anything_starts(flags, words):
    with pytest.raises(InvalidInput, match=words) as caught:
        settings(*flags)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("5", KeepRule(5)),
        ("90m", KeepRule(KEEP_ALL, age_s=5400)),
        ("24h, 5", KeepRule(5, age_s=86_400)),
    ],
)
def test_keep_rule_is_a_number_an_age_or_both(rule, expected):
    (queue,) = settings("--remove-on-complete", rule).queues
    assert queue.keep_completed == expected
    assert queue.keep_failed == KeepRule()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"metrics_size": -1}, "metrics_size is -1; expected 0 to 20160"),
        ({"name": "a:b"}, "a-b"),
        (
            {"level": Level.STRICT, "allow": Allow(exec=True)},
            "exec is set; expected it unset",
        ),
        ({"child_uid": 0}, "child_uid is 0; expected at least 1"),
        ({"max_stalled": -1}, "max_stalled is -1; expected at least 0"),
        ({"limits": Limits(memory_bytes=2**20)}, "memory_bytes is 1 MiB; expected at least 16 MiB"),
        ({"allow": Allow(env=("A=1",))}, "env gives 'A' a value"),
    ],
)
def test_a_queue_is_checked_whoever_fills_it_in(changed, words):
    with pytest.raises(InvalidInput, match=words):
        replace(QueueSettings(name="q", processor="a:b"), **changed)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"prefix": ""}, "prefix is ''"),
        ({"drain_timeout_ms": -1}, "drain_timeout_ms"),
        ({"redis": "redis://localhost:99999"}, "65535"),
        ({"queues": ()}, "at least one"),
        ({"queues": (QueueSettings("q", "a:b"), QueueSettings("q", "a:c"))}, "each of them once"),
    ],
)
def test_a_supervisor_is_checked_whoever_fills_it_in(changed, words):
    whole = Settings(redis="redis://localhost", queues=(QueueSettings("q", "a:b"),))
    with pytest.raises(InvalidInput, match=words):
        replace(whole, **changed)


def test_children_that_die_in_a_row_are_replaced_ever_more_slowly():
    delays = [backoff_s(failures) for failures in range(40)]
    assert delays[:5] == [0, 0, 0.1, 0.2, 0.4]
    assert delays == sorted(delays)
    assert math.isclose(delays[-1], MAX_DELAY_S)
