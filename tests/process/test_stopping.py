"""How a job that has to stop gives way, and what it can do meanwhile."""

from __future__ import annotations

import json
import signal

import pytest

from tests.process.harness import HOSTILE, pen
from toril.call import Verdict
from toril.sandbox.frames import FrameType

SPINNING = {"spin_in_c", "spin_in_coroutine", "ignore_everything"}
"""Jobs that would still hear a signal between their first words and their work."""


async def stopped(name, verdict=Verdict.CANCELLED, **changes):
    async with pen(**changes) as p:
        child = await p.begin_and_hear(name)
        if name in SPINNING:
            await p.deep_in_work(child)
        child.interrupt(verdict)
        outcome = await p.finish(child)
    return outcome, p.heard[child]


async def test_cancelled_job_gives_way_to_the_exception():
    outcome, _ = await stopped("loop")

    assert outcome.verdict is Verdict.CANCELLED
    assert outcome.message == "cancelled"
    assert outcome.detail["stage"] == "exception"
    assert 0 <= outcome.detail["cancel_ms"] < 1000


@pytest.mark.parametrize("name", ["spin_in_c", "ignore_everything"])
async def test_cancelled_job_that_does_not_listen_is_killed(name):
    outcome, _ = await stopped(name, processor=HOSTILE, grace_s=0.2)

    assert outcome.verdict is Verdict.CANCELLED
    assert outcome.detail["stage"] == "sigkill"
    assert 200 <= outcome.detail["cancel_ms"] < 2000


async def test_cancelled_job_whose_process_ends_by_the_signal_says_so():
    outcome, _ = await stopped("die_of_sigterm", processor=HOSTILE)

    assert outcome.verdict is Verdict.CANCELLED
    assert outcome.detail["stage"] == "sigterm"


async def test_cancelled_job_whose_process_ends_otherwise_says_how():
    outcome, _ = await stopped("exit_at_sigterm", processor=HOSTILE)

    assert outcome.verdict is Verdict.CANCELLED
    assert (outcome.detail["stage"], outcome.detail["exit_code"]) == ("died", 3)


async def test_result_of_a_cancelled_job_does_not_count():
    outcome, _ = await stopped("tidy_up_when_interrupted", Verdict.TIMED_OUT)
    cancelled, _ = await stopped("follow_up_in_cleanup", Verdict.INTERRUPTED)

    assert (outcome.verdict, outcome.value) == (Verdict.TIMED_OUT, b"null")
    assert (cancelled.verdict, cancelled.value) == (Verdict.RETURNED, b'"12"')


async def test_stage_is_told_of_every_stop():
    outcome, _ = await stopped("loop", Verdict.INTERRUPTED)

    assert outcome.detail["stage"] == "exception"
    assert "cancel_ms" not in outcome.detail
    assert outcome.detail["pid"] > 0


async def test_check_finds_what_the_signal_cannot_bring():
    outcome, _ = await stopped("block_and_ask", processor=HOSTILE)

    assert outcome.verdict is Verdict.CANCELLED
    assert outcome.detail["stage"] == "exception"
    assert "in block_and_ask" in outcome.stack


async def test_check_raises_again_what_was_swallowed():
    async with pen() as p:
        child = p.begin(await p.child(), "ask_again_and_again", 4)
        await p.until(lambda: p.heard[child].lines("log"))
        child.interrupt(Verdict.CANCELLED)
        await p.finish(child)

    assert p.heard[child].lines("log")[1] == "by signal Cancelled Cancelled Cancelled"


async def test_check_in_a_thread_does_not_keep_it_from_the_main_thread():
    outcome, heard = await stopped("ask_in_a_thread")

    assert outcome.verdict is Verdict.CANCELLED
    assert heard.lines("log")[1:] == ["thread Cancelled, main Cancelled"]


async def test_check_without_a_reason_does_nothing():
    async with pen("tests.process.processors.plain:check_often") as p:
        outcome = await p.run("x", 1000)

    assert outcome.verdict is Verdict.RETURNED
    assert json.loads(outcome.value) < 50, "µs a call"


@pytest.mark.parametrize(
    ("verdict", "name"),
    [(Verdict.CANCELLED, "Cancelled"), (Verdict.INTERRUPTED, "Interrupted")],
)
async def test_coroutine_is_cancelled(verdict, name):
    outcome, _ = await stopped("wait_in_coroutine", verdict)

    assert outcome.verdict is verdict
    assert outcome.detail["stage"] == "exception"
    assert name in outcome.stack
    assert "in wait_in_coroutine" in outcome.stack


async def test_coroutine_may_clean_up():
    outcome, heard = await stopped("clean_up_in_coroutine", Verdict.INTERRUPTED)

    assert (outcome.verdict, outcome.value) == (Verdict.RETURNED, b'"tidied up"')
    assert heard.lines("log")[1:] == ["cancelled: interrupted"]


async def test_cancelled_coroutine_can_ask_why():
    outcome, _ = await stopped("name_reason_in_coroutine")

    assert "toril.errors.Cancelled" in outcome.stack


async def test_coroutine_that_blocks_its_loop_is_killed():
    outcome, _ = await stopped("spin_in_coroutine", grace_s=0.2)

    assert outcome.detail["stage"] == "sigkill"


async def test_coroutine_that_writes_all_the_time_is_cancelled_between_two_frames():
    outcome, _ = await stopped("log_from_coroutine", output_bytes=10**9, log_lines=10**6)

    assert outcome.verdict is Verdict.CANCELLED
    assert outcome.detail["stage"] == "exception"


async def test_soft_timeout_reaches_a_coroutine():
    async with pen(soft_timeout_s=0.2, timeout_s=20) as p:
        outcome = await p.run("wait_in_coroutine")

    assert outcome.verdict is Verdict.TIMED_OUT
    assert outcome.detail["soft"] is True


@pytest.mark.parametrize("times", [500, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.timeout(300)
async def test_signals_during_progress_tear_no_frame(times):
    """Each finds a child that writes, and raises in it; a torn frame would be a broken rule."""
    caught = []
    async with pen(timeout_s=280, output_bytes=10**12, log_lines=10**9) as p:
        child = await p.child()

        def on_log(_child, _call, _stream, lines):
            if lines[0].startswith("caught"):
                caught.append(lines[0])
                interrupt()

        def interrupt():
            sequence = child._turns.current.sequence
            child.process.channel.send(FrameType.CANCEL, sequence, b'{"reason": "interrupted"}')
            child.process.signal(signal.SIGTERM)

        p.on_log = on_log
        p.begin(child, "report_until_interrupted", times)
        outcome = await p.finish(child)

    assert (outcome.verdict, outcome.value) == (Verdict.RETURNED, str(times).encode())
    assert caught == [f"caught {number}" for number in range(times)]
