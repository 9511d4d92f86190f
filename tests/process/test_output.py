"""What a processor prints, logs and reports, and what of it gets through."""

from __future__ import annotations

import time

import pytest

from tests.process.harness import HOSTILE, pen
from tests.process.test_protocol_breaks import lag_while
from toril.call import Verdict


async def test_everything_said_is_heard_before_the_outcome():
    async with pen() as p:
        child = await p.child()
        outcome = await p.run("talk", {"old": True}, child=child)
        heard_until_outcome = list(p.heard[child].order)

    heard = p.heard[child]
    assert outcome.value == b'{"changed": true}'
    assert heard.lines("log") == ["one log entry\nof two lines"]
    assert heard.lines("stdout") == ["to stdout", "no end of line"]
    assert heard.lines("stderr") == ["to stderr"]
    assert heard.data == [{"changed": True}]
    assert heard_until_outcome[-1] == "outcome" or heard_until_outcome[-2:] == ["outcome", "idle"]


async def test_progress_is_coalesced_and_the_last_one_always_arrives():
    async with pen() as p:
        child = await p.child()
        await p.run("count_up", 20_000, child=child)

    progress = p.heard[child].progress
    assert progress[0] == 0
    assert progress[-1] == 19_999
    assert len(progress) <= 20


@pytest.mark.timeout(120)
async def test_a_million_lines_do_not_hold_the_loop_up():
    async with pen(output_bytes=10_000, log_lines=10_000, timeout_s=100) as p:
        child = await p.child()
        lag_s = await lag_while(p.run("print_lines", 1_000_000, child=child))

    heard = p.heard[child]
    lines = heard.lines("stdout")
    assert heard.outcomes[0].verdict is Verdict.RETURNED
    assert lines[:3] == ["0", "1", "2"]
    assert sum(len(line) + 1 for line in lines) in range(10_000, 10_003)
    assert heard.lines("stderr") == ["[output truncated: 6878890 bytes in 997778 lines dropped]"]
    assert lag_s < 0.25, lag_s


async def test_output_under_the_limit_is_whole():
    async with pen(log_lines=10_000) as p:
        child = await p.child()
        await p.run("print_lines", 10_000, child=child)

    assert p.heard[child].lines("stdout") == [str(number) for number in range(10_000)]


async def test_every_job_has_an_output_budget_of_its_own():
    async with pen(output_bytes=10) as p:
        child = await p.child()
        await p.run("print_lines", 4, child=child)
        await p.run("print_lines", 20, child=child)
        await p.run("print_lines", 4, child=child)

    heard = p.heard[child]
    assert heard.lines("stdout") == [
        "0",
        "1",
        "2",
        "3",
        "0",
        "1",
        "2",
        "3",
        "4",
        "0",
        "1",
        "2",
        "3",
    ]
    assert heard.lines("stderr") == ["[output truncated: 40 bytes in 15 lines dropped]"]


async def test_log_counts_as_output():
    async with pen(output_bytes=100_000) as p:
        child = await p.child()
        await p.run("log_twice", "x" * 60_000, child=child)

    heard = p.heard[child]
    assert [len(line) for line in heard.lines("log")] == [60_000]
    assert heard.lines("stderr") == ["[output truncated: 20000 bytes dropped]"]


async def test_output_of_a_dying_child_is_heard():
    async with pen(HOSTILE) as p:
        child = await p.child()
        await p.run("segfault", child=child)

    assert p.heard[child].lines("stderr")[:2] == [
        "just before",
        "Fatal Python error: Segmentation fault",
    ]


async def test_output_between_two_calls_belongs_to_none():
    async with pen() as p:
        heard = []
        p.on_log = lambda _child, call, _stream, lines: heard.append((call, lines))
        child = await p.child()
        await p.run("leave_talker", child=child)
        time.sleep(0.4)  # noqa: ASYNC251 - the loop must not read before the next call begins
        await p.run("echo", child=child)

    assert heard == [(None, ["late"])]
