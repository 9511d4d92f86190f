"""Stopping a running job: deadline, interruption, kill, and what wins when things meet."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from tests.process.harness import GOOD, HOSTILE, call_of, is_alive, pen
from toril.call import Verdict


async def test_job_over_its_time_is_told_to_stop():
    async with pen(timeout_s=0.2) as p:
        child = await p.child()
        outcome = await p.run("loop", child=child)
        end = await p.gone(child)

    assert outcome.verdict is Verdict.TIMED_OUT
    assert outcome.message.startswith("timed out after ")
    assert outcome.message.endswith("(limit 200 ms)")
    assert "SoftTimeout" in outcome.stack
    assert "in loop" in outcome.stack
    assert end.expected, "an interrupted child is replaced, but did nothing wrong"


async def test_job_that_ignores_its_deadline_is_killed_after_the_grace():
    async with pen(HOSTILE, timeout_s=0.2, grace_s=0.2) as p:
        child = await p.child()
        outcome = await p.run("ignore_everything", child=child)
        end = await p.gone(child)

    assert outcome.verdict is Verdict.TIMED_OUT
    assert 400 <= outcome.usage.wall_ms < 2000
    assert (end.signal, end.expected, end.reason) == (9, False, Verdict.TIMED_OUT)


@pytest.mark.parametrize("name", ["spin_in_c", "spin_in_regular_expression"])
async def test_job_that_spins_in_c_is_killed_after_the_grace(name):
    async with pen(HOSTILE, timeout_s=0.2, grace_s=0.2) as p:
        outcome = await p.run(name)

    assert outcome.verdict is Verdict.TIMED_OUT
    assert outcome.usage.wall_ms < 2000


async def test_result_in_the_grace_does_not_undo_a_timeout():
    async with pen(timeout_s=0.2) as p:
        child = await p.child()
        outcome = await p.run("tidy_up_when_interrupted", child=child)

    assert outcome.verdict is Verdict.TIMED_OUT
    assert outcome.value == b"null"
    assert "stopping: SoftTimeout" in p.heard[child].lines("log")


@pytest.mark.parametrize("name", ["loop", "wait_for_event"])
async def test_interrupted_job_ends_within_the_grace(name):
    async with pen() as p:
        child = await p.begin_and_hear(name)
        child.interrupt(Verdict.INTERRUPTED)
        outcome = await p.finish(child)
        end = await p.gone(child)

    assert outcome.verdict is Verdict.INTERRUPTED
    assert "Interrupted" in outcome.stack
    assert end.expected


async def test_result_of_an_interrupted_job_counts():
    async with pen() as p:
        child = await p.begin_and_hear("tidy_up_when_interrupted")
        child.interrupt(Verdict.INTERRUPTED)
        outcome = await p.finish(child)

    assert (outcome.verdict, outcome.value) == (Verdict.RETURNED, b'"tidied up"')


async def test_cancelled_job_carries_its_verdict():
    async with pen() as p:
        child = await p.begin_and_hear("loop")
        child.interrupt(Verdict.CANCELLED)
        child.interrupt(Verdict.INTERRUPTED)
        outcome = await p.finish(child)

    assert outcome.verdict is Verdict.CANCELLED, "the first reason stays"
    assert "Cancelled" in outcome.stack


async def test_interrupt_never_tears_a_frame():
    """The child writes large frames all the time; a torn one would be a broken rule."""
    async with pen(grace_s=5, output_bytes=10**9) as p:
        for _ in range(20):
            child = await p.begin_and_hear("chat_until_interrupted")
            child.interrupt(Verdict.INTERRUPTED)
            assert (await p.finish(child)).verdict is Verdict.INTERRUPTED


async def test_interrupt_of_an_idle_child_does_nothing():
    async with pen() as p:
        child = await p.child()
        child.interrupt(Verdict.INTERRUPTED)
        outcome = await p.run("echo", 1, child=child)

    assert outcome.verdict is Verdict.RETURNED


async def test_signal_from_outside_does_not_interrupt():
    """A service manager may signal the whole group; the supervisor alone decides who stops."""
    async with pen() as p:
        child = await p.begin_and_hear("loop")
        os.kill(child.pid, signal.SIGTERM)
        os.kill(p.zygote.pid, signal.SIGTERM)
        other = await p.run("echo", 1)
        child.interrupt(Verdict.INTERRUPTED)
        outcome = await p.finish(child)

    assert other.verdict is Verdict.RETURNED
    assert outcome.verdict is Verdict.INTERRUPTED


async def test_lost_lock_kills_at_once_and_refuses_the_result():
    async with pen() as p:
        child = await p.begin_and_hear("loop")
        child.kill(Verdict.LOCK_LOST)
        outcome = await p.finish(child)
        end = await p.gone(child)

    assert outcome.verdict is Verdict.LOCK_LOST
    assert end.signal == signal.SIGKILL
    assert not is_alive(child.pid)


async def test_result_that_was_sent_before_a_kill_counts_unless_the_lock_is_lost():
    async with pen(HOSTILE) as p:
        verdicts = {}
        for verdict in (Verdict.INTERRUPTED, Verdict.LOCK_LOST):
            child = p.begin(await p.child(), "result_then_exit", 10)
            while is_alive(child.pid):
                os.sched_yield()  # The loop must not see the result before the kill.
            child.kill(verdict)
            verdicts[verdict] = (await p.finish(child)).verdict

    assert verdicts[Verdict.INTERRUPTED] is Verdict.RETURNED
    assert verdicts[Verdict.LOCK_LOST] is Verdict.LOCK_LOST


async def test_deadline_that_meets_a_buffered_result_does_not_undo_it():
    async with pen(HOSTILE, timeout_s=0.05) as p:
        child = p.begin(await p.child(), "result_then_exit", 10)
        end = asyncio.get_running_loop().time() + 0.2
        while asyncio.get_running_loop().time() < end:
            os.sched_yield()  # Both are due now, in one turn of the loop.
        outcome = await p.finish(child)

    assert outcome.verdict is Verdict.RETURNED


async def test_retired_child_ends_after_its_job():
    async with pen() as p:
        child = p.begin(await p.child(), "nap", 0.05)
        child.retire()
        outcome = await p.finish(child)
        end = await p.gone(child)
        idle = await p.child()
        idle.retire()
        other_exit = await p.gone(idle)

    assert outcome.verdict is Verdict.RETURNED
    assert p.heard[child].idles == 1
    assert (end.expected, end.exit_code, end.reason) == (True, 0, None)
    assert (other_exit.expected, other_exit.ran) == (True, 0)


async def test_child_that_was_killed_while_idle_is_told_of():
    async with pen() as p:
        child = await p.child()
        os.kill(child.pid, signal.SIGKILL)
        end = await p.gone(child)

    assert (end.expected, end.reason, end.signal) == (False, Verdict.CRASHED, 9)


async def test_call_that_never_reached_its_child_is_lost_and_not_crashed():
    async with pen() as p:
        child = await p.child()
        os.kill(child.pid, signal.SIGKILL)
        while is_alive(child.pid):
            os.sched_yield()  # The loop must not hear of it before the call.
        outcome = await p.run("echo", child=child)

    assert outcome.verdict is Verdict.LOST


async def test_only_an_idle_child_takes_a_call():
    async with pen(GOOD) as p:
        child = p.begin(await p.child(), "nap", 0.05)
        with pytest.raises(RuntimeError, match="is running, expected idle"):
            child.run(call_of("echo"))
        assert (await p.finish(child)).verdict is Verdict.RETURNED


async def test_job_that_is_cancelled_before_it_begins_gives_way_at_once():
    """Call and cancellation are read together, and the signal comes before there is a processor."""
    async with pen(grace_s=20.0) as p:
        child = p.begin(await p.child(), "loop")
        child.interrupt(Verdict.CANCELLED)
        outcome = await p.finish(child)

    assert outcome.verdict is Verdict.CANCELLED
    assert outcome.detail["stage"] == "exception"
