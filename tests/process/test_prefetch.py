"""Calls that lie ready for a child: begun in order, taken back unseen, never lost or run twice."""

from __future__ import annotations

import asyncio
import os
import signal

from tests.process.harness import HOSTILE, call_of, fds_after, is_alive, open_fds, pen
from toril.call import Verdict


def lay(child, count: int, name: str = "echo", **header) -> list[bool]:
    """Lay calls ready that answer with their number."""
    return [child.prefetch(call_of(name, n, job_id=f"r{n}", **header)) for n in range(count)]


def values(heard) -> list[bytes]:
    return [outcome.value for outcome in heard.outcomes]


async def test_what_lies_ready_is_begun_in_order():
    async with pen() as p:
        child = p.begin(await p.child(), "echo", "first")
        assert all(lay(child, 8))
        assert child.jobs_run == 9
        await p.finish(child)
        await p.idle(child)
        again = await p.run("echo", "again", child=child)

    heard = p.heard[child]
    assert values(heard) == [b'"first"', *(b"%d" % n for n in range(8)), b'"again"']
    assert heard.begun == [f"r{n}" for n in range(8)]
    assert heard.order[1:18] == ["outcome", "next"] * 8 + ["outcome"]
    assert heard.recalled == []
    assert again.value == b'"again"'


async def test_what_lies_behind_a_long_call_is_taken_back_unseen():
    """By itself, after a moment; the child goes on with its call, and with others later."""
    async with pen() as p:
        child = p.begin(await p.child(), "nap", 0.3)
        assert all(lay(child, 3))
        await p.until(lambda: p.heard[child].recalled)
        assert p.heard[child].outcomes == []
        assert not child.prefetch(call_of("echo", 1)), "nothing is laid behind a long one"
        await p.finish(child)
        last = await p.run("echo", "last", child=child)

    heard = p.heard[child]
    assert heard.recalled == ["r0", "r1", "r2"]
    assert heard.begun == []
    assert child.jobs_run == 2
    assert last.value == b'"last"'


async def test_each_line_belongs_to_the_call_that_printed_it():
    """What lies behind one that has printed is taken back; what is given then is told apart."""
    async with pen() as p:
        child = await p.child()
        child.run(call_of("print_lines", 2, job_id="a"))
        child.prefetch(call_of("echo", 0, job_id="b"))
        await p.until(lambda: p.heard[child].outcomes and p.heard[child].recalled)
        await p.idle(child)
        for job_id in ("c", "d"):
            child.run(call_of("print_lines", 1, job_id=job_id))
            assert not child.prefetch(call_of("echo", 0)), "its kind prints"
            await p.finish(child)
            await p.idle(child)

    said = [pair for pair in p.heard[child].said_by if pair[1].isdigit()]
    assert said == [("a", "0"), ("a", "1"), ("c", "0"), ("d", "0")]
    assert p.heard[child].recalled == ["b"]


async def test_what_a_later_call_prints_is_not_taken_for_the_ones_before():
    async with pen() as p:
        child = await p.child()
        child.run(call_of("echo", 0, job_id="a"))
        child.prefetch(call_of("log_twice", "x", job_id="b"))
        child.prefetch(call_of("print_lines", 3, job_id="c"))
        child.prefetch(call_of("echo", 0, job_id="d"))
        await p.until(lambda: p.heard[child].recalled)
        await p.idle(child)

    heard = p.heard[child]
    assert heard.said_by == [("b", "x")] * 2 + [("c", "0"), ("c", "1"), ("c", "2")]
    assert heard.recalled == ["d"]


async def test_what_lies_ready_finds_the_signals_in_their_place():
    """Its child has not come to rest before, and the handler says what it likes of itself."""
    async with pen("tests.process.processors.agreeing:processors") as p:
        child = p.begin(await p.child(), "take")
        assert all(lay(child, 1, "ask"))
        await p.until(lambda: len(p.heard[child].outcomes) == 2)

    assert values(p.heard[child]) == [b"null", b'"method"']


async def test_a_large_call_goes_alone():
    async with pen() as p:
        child = await p.child()
        child.run(call_of("echo", "x" * 20_000))
        assert not child.prefetch(call_of("echo", 1)), "nothing is laid behind it"
        await p.finish(child)
        await p.idle(child)
        child.run(call_of("echo", 1))
        assert not child.prefetch(call_of("echo", "x" * 20_000)), "nor is it laid behind another"
        assert child.prefetch(call_of("echo", 2))
        await p.finish(child)

    assert [len(value) for value in values(p.heard[child])] == [20_002, 1, 1]


async def test_who_is_interrupted_or_retired_leaves_the_rest_unseen():
    async with pen() as p:
        child = await p.begin_and_hear("tidy_up_when_interrupted")
        other = p.begin(await p.child(2), "nap", 0.05)
        lay(other, 2)
        other.retire()
        assert p.heard[other].recalled == ["r0", "r1"]
        child.interrupt(Verdict.CANCELLED)
        outcome = await p.finish(child)
        await p.gone(child)
        await p.gone(other)

    assert outcome.verdict is Verdict.CANCELLED
    assert [one.verdict for one in p.heard[other].outcomes] == [Verdict.RETURNED]


async def test_a_child_that_dies_takes_one_call_with_it():
    async with pen(HOSTILE) as p:
        child = p.begin(await p.child(), "exit_with", 3)
        lay(child, 5, "wait_forever")
        await p.gone(child)

    heard = p.heard[child]
    assert [one.verdict for one in heard.outcomes] == [Verdict.EXITED]
    assert heard.recalled == [f"r{n}" for n in range(5)]


async def test_a_child_that_was_killed_before_it_read_is_not_to_blame():
    """It is stopped, so everything lies there still."""
    async with pen() as p:
        child = await p.child()
        os.kill(child.pid, signal.SIGSTOP)
        p.begin(child, "echo", 1)
        lay(child, 2)
        os.kill(child.pid, signal.SIGKILL)
        outcome = await p.finish(child)

    assert outcome.verdict is Verdict.LOST
    assert p.heard[child].recalled == ["r0", "r1"]


async def test_a_child_that_is_slow_to_begin_still_gets_its_call():
    """Taken back with what lay behind it, it goes another way; its deadline counts on."""
    async with pen() as p:
        child = await p.child()
        os.kill(child.pid, signal.SIGSTOP)
        p.begin(child, "echo", "late")
        lay(child, 2)
        await p.until(lambda: p.heard[child].recalled)
        os.kill(child.pid, signal.SIGCONT)
        await p.finish(child)
        await p.idle(child)
        assert child.prefetch(call_of("echo", 1)) is False, "it is idle"
        p.begin(child, "echo", "next")
        assert child.prefetch(call_of("echo", "then"))
        await p.finish(child)

    assert values(p.heard[child]) == [b'"late"', b'"next"', b'"then"']


async def test_who_takes_what_is_not_his_turn_is_killed():
    """What it took may have run, so it ends with it; what it left runs elsewhere."""
    async with pen(HOSTILE) as p:
        await p.child(2)
        before = open_fds()
        data = {"count": 2, "stays": True}
        child = p.begin(await p.child(), "take_what_lies_ready", data)
        lay(child, 3, "exit_politely")
        end = await p.gone(child)
        after = await fds_after(before)

    heard = p.heard[child]
    assert end.reason is Verdict.BROKE_PROTOCOL
    assert "before it was its turn" in end.message
    assert heard.recalled == ["r2"]
    assert heard.begun == ["r0", "r1"]
    assert [one.verdict for one in heard.outcomes] == [Verdict.BROKE_PROTOCOL] * 3
    assert not is_alive(child.pid)
    assert after == before


async def test_who_takes_one_and_runs_the_one_behind_it_is_killed():
    async with pen(HOSTILE) as p:
        data = {"count": 1, "stays": False}
        child = p.begin(await p.child(), "take_what_lies_ready", data)
        lay(child, 2, "spoil_everything")
        end = await p.gone(child)

    heard = p.heard[child]
    assert end.reason is Verdict.BROKE_PROTOCOL
    assert [one.verdict for one in heard.outcomes] == [
        Verdict.RETURNED,
        *[Verdict.BROKE_PROTOCOL] * 2,
    ]
    assert heard.recalled == []


async def test_a_spoilt_socket_stops_nobody():
    """Whatever a child does to its end, taking back does not wait, and nothing is lost."""
    async with pen(HOSTILE, timeout_s=1.0, grace_s=0.1) as p:
        child = p.begin(await p.child(), "spoil_what_lies_ready")
        laid = lay(child, 3, "exit_politely").count(True)
        async with asyncio.timeout(10):
            await p.gone(child)

    heard = p.heard[child]
    assert heard.lines("log") == ["begun"]
    assert len(heard.recalled) == laid
    assert [one.verdict for one in heard.outcomes] == [Verdict.TIMED_OUT]
