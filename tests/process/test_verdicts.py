"""Every way an attempt can end inside a child, and what is said about it."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from tests.process.harness import HOSTILE, call_of, pen
from toril.call import Verdict

MIB = 1024 * 1024


async def test_result_comes_back_as_it_is_in_json():
    value = {"text": "ü — 漢字 😀", "n": [1, 2.5, None, True]}
    async with pen() as p:
        outcome = await p.run("echo", value)

    assert outcome.verdict is Verdict.RETURNED
    assert json.loads(outcome.value) == value
    assert outcome.message == ""


async def test_child_is_used_again():
    async with pen() as p:
        child = await p.child()
        results = [(await p.run("echo", n, child=child)).value for n in range(20)]
        await p.idle(child)

    assert results == [str(n).encode() for n in range(20)]
    assert p.heard[child].exits[0].expected


async def test_job_knows_what_it_is():
    async with pen() as p:
        child = await p.child()
        child.run(
            call_of("about", attempts_made=2, attempts_started=5, priority=3, opts={"attempts": 4})
        )
        outcome = await p.finish(child)

    assert json.loads(outcome.value) == {
        "id": "7",
        "name": "about",
        "queue": "cattle",
        "opts": {"attempts": 4},
        "attempts_made": 2,
        "attempts_started": 5,
        "fencing_token": 5,
        "timestamp": 1_700_000_000_000,
        "priority": 3,
    }


async def test_exception_is_told_with_name_words_and_traceback():
    async with pen() as p:
        child = await p.child()
        outcome = await p.run("refuse", child=child)
        again = await p.run("echo", 1, child=child)

    assert outcome.verdict is Verdict.RAISED
    assert (outcome.error_name, outcome.message) == ("ValueError", "no good")
    assert outcome.stack.startswith("Traceback (most recent call last):\n")
    assert outcome.stack.endswith("ValueError: no good\n")
    assert "in refuse" in outcome.stack
    assert "toril/sandbox" not in outcome.stack
    assert again.verdict is Verdict.RETURNED


async def test_exception_without_words_is_told_by_its_name():
    async with pen() as p:
        outcome = await p.run("refuse_without_words")

    assert (outcome.verdict, outcome.message) == (Verdict.RAISED, "ZeroDivisionError")


async def test_unrecoverable_is_a_verdict_of_its_own():
    async with pen() as p:
        outcome = await p.run("give_up")

    assert (outcome.verdict, outcome.message) == (Verdict.UNRECOVERABLE, "never again")


async def test_unknown_job_name_is_told_with_the_known_ones():
    async with pen() as p:
        outcome = await p.run("ekho")

    assert (outcome.verdict, outcome.error_name) == (Verdict.RAISED, "UnknownJobName")
    assert "'ekho' (did you mean 'echo'?)" in outcome.message
    assert "'refuse'" in outcome.message


async def test_missing_variable_names_the_setting_that_lets_it_through():
    async with pen() as p:
        outcome = await p.run("need_variable")

    assert (outcome.verdict, outcome.error_name) == (Verdict.RAISED, "KeyError")
    assert "--env IMAGE_BUCKET" in outcome.message


@pytest.mark.parametrize("name", ["echo", "ignore_data"])
@pytest.mark.parametrize(
    "raw", [b"{'a': 1}", b"", b"NaN", b'{"a": -Infinity}', b'"\xff"', b"[" * 100_000]
)
async def test_data_that_is_not_json_is_unreadable_whether_it_is_looked_at_or_not(name, raw):
    async with pen() as p:
        child = await p.child()
        child.run(call_of(name, raw=raw))
        outcome = await p.finish(child)
        again = await p.run("echo", 1, child=child)

    assert outcome.verdict is Verdict.UNREADABLE
    assert outcome.message.startswith("job data is not JSON: ")
    assert outcome.stack == ""
    assert again.verdict is Verdict.RETURNED


async def test_options_that_are_not_json_are_unreadable():
    async with pen() as p:
        child = await p.child()
        child.run(replace(call_of("echo"), header=b'{"id": "7", "opts": {broken}}'))
        outcome = await p.finish(child)

    assert outcome.verdict is Verdict.UNREADABLE
    assert outcome.message.startswith("job options are not JSON: ")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("return_a_set", None),
        ("return_nan", None),
        ("return_a_circle", None),
        ("return_a_surrogate", None),
        ("return_depth", 200_000),
        ("return_depth", 980),
    ],
)
async def test_result_that_is_not_json_is_invalid(name, data):
    async with pen(HOSTILE) as p:
        child = await p.child()
        outcome = await p.run(name, data, child=child)
        again = await p.run("leave_thread", child=child)

    assert outcome.verdict is Verdict.RESULT_INVALID
    assert "result is not JSON" in outcome.message
    assert again.verdict is Verdict.RETURNED


async def test_result_over_the_limit_is_refused_in_the_child():
    async with pen(HOSTILE) as p:
        outcome = await p.run("return_bytes_of_text", 64 * MIB)

    assert outcome.verdict is Verdict.RESULT_TOO_LARGE
    assert outcome.message == "result is 64 MiB, over the limit of 1 MiB"


async def test_result_may_be_as_large_as_the_limit():
    async with pen(HOSTILE, result_bytes=3 * MIB) as p:
        child = await p.child()
        fits = await p.run("return_bytes_of_text", 3 * MIB - 2, child=child)
        too_large = await p.run("return_bytes_of_text", 3 * MIB - 1, child=child)

    assert (fits.verdict, len(fits.value)) == (Verdict.RETURNED, 3 * MIB)
    assert too_large.verdict is Verdict.RESULT_TOO_LARGE


@pytest.mark.parametrize(
    ("name", "data", "error_name"),
    [
        ("exit_politely", 0, "SystemExit"),
        ("exit_politely", "bye", "SystemExit"),
        ("interrupt_keyboard", None, "KeyboardInterrupt"),
        ("raise_base", None, "Odd"),
    ],
)
async def test_processor_that_leaves_by_an_exit_fails_and_its_child_is_replaced(
    name, data, error_name
):
    async with pen(HOSTILE) as p:
        child = await p.child()
        outcome = await p.run(name, data, child=child)
        end = await p.gone(child)

    assert (outcome.verdict, outcome.error_name) == (Verdict.PROCESSOR_EXIT, error_name)
    assert error_name in outcome.message
    assert end.expected
    assert p.heard[child].idles == 1


async def test_memory_over_the_limit_is_an_error_in_the_job_and_the_child_is_replaced():
    async with pen(HOSTILE, memory_bytes=64 * MIB) as p:
        child = await p.child()
        outcome = await p.run("take_memory", child=child)
        end = await p.gone(child)

    assert (outcome.verdict, outcome.error_name) == (Verdict.MEMORY_ERROR, "MemoryError")
    assert "memory limit of 64 MiB" in outcome.message
    assert "take_memory" in outcome.stack
    assert end.expected


async def test_memory_limit_is_on_top_of_what_was_inherited():
    async with pen(memory_bytes=256 * MIB) as p:
        outcome = await p.run("use_memory", 200 * MIB)

    assert outcome.verdict is Verdict.RETURNED
    assert outcome.usage.rss_growth_bytes < 100 * MIB


@pytest.mark.parametrize("code", [0, 1, 3])
async def test_exit_without_a_result_fails_whatever_the_code(code):
    async with pen(HOSTILE) as p:
        child = await p.child()
        outcome = await p.run("exit_with", code, child=child)
        end = await p.gone(child)

    assert outcome.verdict is Verdict.EXITED
    assert outcome.message == f"exited with code {code} without a result"
    assert outcome.detail["exit_code"] == code
    assert (end.expected, end.reason, end.exit_code) == (False, Verdict.EXITED, code)


@pytest.mark.parametrize(
    ("name", "signal_name", "says"),
    [
        ("segfault", "SIGSEGV", "Segmentation fault"),
        ("abort", "SIGABRT", "Aborted"),
        ("kill_itself", "SIGKILL", ""),
    ],
)
async def test_crash_is_told_with_its_signal_and_the_last_of_stderr(name, signal_name, says):
    async with pen(HOSTILE) as p:
        child = await p.child()
        outcome = await p.run(name, child=child)
        end = await p.gone(child)

    assert outcome.verdict is Verdict.CRASHED
    assert outcome.message.startswith(f"died of {signal_name}")
    assert outcome.detail["signal"] == signal_name
    assert says in outcome.detail.get("stderr", "")
    assert end.reason is Verdict.CRASHED
    assert end.ran == 1


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("raise_mute", Verdict.RAISED),
        ("raise_very_long", Verdict.RAISED),
        ("raise_surrogate", Verdict.RAISED),
        ("raise_silent_killer", Verdict.EXITED),
        ("exit_while_encoded", Verdict.EXITED),
    ],
)
async def test_exceptions_and_results_with_teeth_are_survived(name, verdict):
    async with pen(HOSTILE) as p:
        outcome = await p.run(name)

    assert outcome.verdict is verdict
    assert len(outcome.message.encode()) <= 2048
    assert len(outcome.stack.encode()) <= 32 * 1024


@pytest.mark.parametrize("times", [100, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.timeout(180)
async def test_result_before_an_exit_is_returned_every_time(times):
    """The death is seen on one descriptor, the result lies on another: it is read first."""
    verdicts = []
    async with pen(HOSTILE) as p:
        for _ in range(times):
            child = await p.child()
            outcome = await p.run("result_then_exit", 200_000, child=child)
            verdicts.append((outcome.verdict, len(outcome.value)))
            assert (await p.gone(child)).reason is Verdict.EXITED

    assert verdicts == [(Verdict.RETURNED, 200_002)] * times


async def test_half_a_result_is_no_result():
    async with pen(HOSTILE) as p:
        outcome = await p.run("result_in_two_halves_and_exit")

    assert outcome.verdict is Verdict.EXITED


async def test_usage_is_measured_from_outside():
    async with pen(HOSTILE, timeout_s=0.3, grace_s=0.1) as p:
        outcome = await p.run("ignore_everything")

    assert outcome.usage.wall_ms >= 400
    assert outcome.usage.cpu_ms >= 100
    assert outcome.usage.rss_growth_bytes is None


async def test_usage_of_a_quiet_job_is_small():
    async with pen() as p:
        child = await p.child()
        await p.run("echo", child=child)
        outcome = await p.run("nap", 0.2, child=child)

    assert 200 <= outcome.usage.wall_ms < 2000
    assert outcome.usage.cpu_ms < 100
    assert outcome.usage.rss_growth_bytes < 10 * MIB
