"""Where a running job stands, asked from outside."""

from __future__ import annotations

import asyncio

import pytest

from tests.process.harness import HOSTILE, pen
from toril.call import Verdict


async def stack_of(child) -> str:
    told = asyncio.get_running_loop().create_future()
    child.ask_stack(told.set_result)
    return await told


@pytest.mark.parametrize("name", ["spin_in_c", "spin_in_regular_expression", "wait_forever"])
async def test_stack_is_told_although_c_code_runs(name):
    async with pen(HOSTILE) as p:
        child = await p.begin_and_hear(name)
        text = await stack_of(child)
        again = await stack_of(child)
        child.kill(Verdict.LOCK_LOST)

    assert "hostile.py" in text
    assert f"in {name}" in text
    assert f"in {name}" in again
    assert "toril/sandbox" not in text
    assert "runpy" not in text


async def test_asking_does_not_crash_a_job_with_busy_threads():
    async with pen(HOSTILE) as p:
        child = await p.begin_and_hear("come_and_go_in_threads")
        texts = [await stack_of(child) for _ in range(10)]
        alive = child.state.value
        child.kill(Verdict.LOCK_LOST)

    assert alive == "running"
    assert all("in come_and_go_in_threads" in text for text in texts)
    assert not any("in climb" in text for text in texts)


async def test_job_does_not_notice():
    async with pen() as p:
        child = await p.child()
        p.begin(child, "say_and_nap", 0.3)
        await p.until(lambda: p.heard[child].lines("log"))
        text = await stack_of(child)
        outcome = await p.finish(child)

    assert "in say_and_nap" in text
    assert outcome.verdict is Verdict.RETURNED


async def test_who_asks_together_gets_one_answer():
    async with pen() as p:
        child = await p.begin_and_hear("loop")
        texts = await asyncio.gather(*(stack_of(child) for _ in range(5)))

    assert set(texts) == {texts[0]}
    assert texts[0].count("in loop") == 1


async def test_idle_or_dead_child_has_no_stack():
    async with pen() as p:
        child = await p.child()
        idle = await stack_of(child)
        child.retire()
        await p.gone(child)
        dead = await stack_of(child)

    assert (idle, dead) == ("", "")


async def test_child_that_blocks_every_signal_has_no_stack():
    async with pen(HOSTILE) as p:
        child = await p.begin_and_hear("ignore_everything")
        text = await stack_of(child)
        alive = child.state.value
        child.kill(Verdict.LOCK_LOST)

    assert (text, alive) == ("", "running")


@pytest.mark.parametrize(
    ("name", "value"), [("forget_all_handlers", b'"alive"'), ("take_stack_pipe", b"0")]
)
async def test_asking_never_harms_a_job_that_meddled_with_the_means(name, value):
    """The signal would end a process that does not catch it, and write into whatever is fd 4."""
    async with pen(HOSTILE) as p:
        child = p.begin(await p.child(), name, 0.2)
        await p.until(lambda: p.heard[child].lines("log"))
        text = await stack_of(child)
        outcome = await p.finish(child)

    assert text == ""
    assert outcome.value == value


async def test_handlers_are_there_again_for_the_next_job():
    async with pen(HOSTILE) as p:
        child = await p.child()
        await p.run("forget_all_handlers", 0, child=child)
        p.begin(child, "spin_in_c")
        await p.until(lambda: len(p.heard[child].lines("log")) == 2)
        text = await stack_of(child)
        child.kill(Verdict.LOCK_LOST)

    assert "in spin_in_c" in text


async def test_stack_is_taken_when_most_of_the_time_is_up_and_stays_with_the_outcome():
    async with pen(HOSTILE, timeout_s=1.0, grace_s=0.1) as p:
        child = await p.begin_and_hear("spin_in_c")
        outcome = await p.finish(child)

    assert len(p.heard[child].stacks) == 1
    assert "in spin_in_c" in p.heard[child].stacks[0]
    assert p.heard[child].order.index("stack") < p.heard[child].order.index("outcome")
    assert outcome.verdict is Verdict.TIMED_OUT
    assert outcome.stack.startswith("Python stack at 80 % of its time:\n")
    assert "in spin_in_c" in outcome.stack


async def test_stack_of_a_job_that_ends_in_time_is_not_taken():
    async with pen(timeout_s=1.0) as p:
        child = await p.child()
        await p.run("nap", 0.1, child=child)
        await p.run("nap", 0.75, child=child)
        await asyncio.sleep(0.3)

    assert p.heard[child].stacks == []


async def test_crash_is_told_without_our_own_frames():
    async with pen(HOSTILE) as p:
        child = await p.child()
        outcome = await p.run("segfault", child=child)

    log = "\n".join(p.heard[child].lines("stderr"))
    assert "in segfault" in log
    assert "in segfault" in outcome.detail["stderr"]
    assert "toril/sandbox" not in log + outcome.detail["stderr"]
