"""A child that breaks a rule of the frames is killed; nobody else notices."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.process.harness import HOSTILE, call_of, fds_after, is_alive, open_fds, pen
from toril.call import Verdict
from toril.sizes import MAX_DATA_BYTES

RULES = {
    "garbage": "",
    "length": "over the maximum",
    "too-large": "over the maximum",
    "version": "version is 2",
    "type": "type 99",
    "supervisor-type": "type 1",
    "sequence": "RESULT frame for call",
    "state": "READY frame from a child that is running",
    "not-json": "result is not JSON",
    "nan": "result is not JSON",
    "not-utf8": "result is not JSON",
    "error-shape": "ERROR frame is malformed",
    "progress": "progress is not JSON",
    "call": "CALL frame is malformed",
    "call-number": "CALL frame is malformed",
    "usage": "USAGE frame is malformed",
    "deep-progress": "progress is nested too deeply",
    "deep-data": "job data is nested too deeply",
    "delay": "a delay outside 0 to 10 years",
    "backoff": "a back-off outside -1 (none) to 10 years",
}


async def lag_while(task) -> float:
    """The longest time the loop did not turn while a coroutine ran, seconds."""
    worst, running = 0.0, asyncio.ensure_future(task)
    while not running.done():
        before = time.monotonic()
        await asyncio.sleep(0.005)
        worst = max(worst, time.monotonic() - before - 0.005)
    await running
    return worst


@pytest.mark.parametrize("rule", RULES)
async def test_broken_rule_kills_the_child_alone(rule):
    async with pen(HOSTILE) as p:
        sibling = await p.child(2)
        before = open_fds()
        child = await p.child()
        outcome = await p.run("break_rule", rule, child=child)
        end = await p.gone(child)
        after = await fds_after(before)
        beside = await p.run("exit_politely", child=sibling)

    assert outcome.verdict is Verdict.BROKE_PROTOCOL
    assert RULES[rule] in outcome.detail["rule"]
    assert outcome.detail["rule"] in outcome.message
    assert (end.signal, end.reason, end.expected) == (9, Verdict.BROKE_PROTOCOL, False)
    assert not is_alive(child.pid)
    assert beside.verdict is Verdict.PROCESSOR_EXIT
    assert after == before


async def test_child_that_dies_behind_a_frame_that_cannot_be_checked_is_buried():
    """The frame is read when the death is told; it must not stand in the way of the burial."""
    async with pen(HOSTILE) as p:
        child = await p.child()
        outcome = await p.run("break_rule_and_exit", "deep-progress", child=child)
        end = await p.gone(child)

    assert outcome.verdict in {Verdict.BROKE_PROTOCOL, Verdict.EXITED}
    assert not end.expected


async def test_calls_have_numbers_that_cannot_be_guessed():
    async with pen(HOSTILE) as p:
        child = await p.child()
        numbers = [(await p.run("tell_sequence", child=child)).value for _ in range(5)]

    assert len({int(one) >> 32 for one in numbers}) == 5


async def test_second_result_kills_the_child_and_the_first_stands():
    async with pen(HOSTILE) as p:
        child = await p.child()
        outcome = await p.run("second_result", child=child)
        end = await p.gone(child)

    assert (outcome.verdict, outcome.value) == (Verdict.RETURNED, b"1")
    assert end.reason is Verdict.BROKE_PROTOCOL
    assert "RESULT frame from a child that is idle" in end.message
    assert p.heard[child].idles == 1


async def test_frame_of_an_idle_child_kills_it():
    async with pen(HOSTILE) as p:
        child = await p.child()
        outcome = await p.run("frame_when_idle", child=child)
        end = await p.gone(child)

    assert outcome.verdict is Verdict.RETURNED
    assert end.reason is Verdict.BROKE_PROTOCOL
    assert "PROGRESS frame from a child that is idle" in end.message


async def test_descriptors_that_a_child_sends_are_dropped():
    async with pen(HOSTILE) as p:
        await p.child(2)  # uvloop keeps one /dev/null from its first pipe on.
        before = open_fds()
        child = await p.child()
        outcome = await p.run("send_fds", child=child)
        await p.gone(child)
        after = await fds_after(before)

    assert outcome.verdict is Verdict.BROKE_PROTOCOL
    assert after == before


async def test_closed_socket_of_a_living_child_is_its_end():
    async with pen(HOSTILE) as p:
        child = await p.child()
        outcome = await p.run("close_socket", child=child)
        end = await p.gone(child)

    assert outcome.verdict is Verdict.DISCONNECTED
    assert end.reason is Verdict.DISCONNECTED


async def test_flood_of_frames_does_not_hold_the_loop_up():
    async with pen(HOSTILE, timeout_s=1.0, grace_s=0.1) as p:
        child = await p.child()
        p.on_log = lambda *_: None
        lag_s = await lag_while(p.run("flood", child=child))

    assert p.heard[child].outcomes[0].verdict is Verdict.TIMED_OUT
    assert lag_s < 0.25, lag_s


async def test_largest_job_data_passes():
    text = b'"' + b"x" * (MAX_DATA_BYTES - 2) + b'"'
    async with pen(result_bytes=MAX_DATA_BYTES) as p:
        child = await p.child()
        child.run(call_of("echo", raw=text))
        outcome = await p.finish(child)

    assert outcome.verdict is Verdict.RETURNED
    assert outcome.value == text
