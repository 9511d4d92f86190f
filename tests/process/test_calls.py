"""What a running job asks of the supervisor, and is told."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.process.harness import HOSTILE, pen
from toril.call import Verdict
from toril.errors import InvalidJobId, RedisUnavailable


async def test_job_adds_a_job_and_learns_its_id():
    async with pen() as p:
        child = await p.child()
        outcome = await p.run("follow_up", child=child)

    assert outcome.value == b'"12"'
    payload = {"name": "next", "data": {"of": "7"}, "options": {"delay": "1500ms", "priority": 3}}
    assert p.heard[child].calls == [("add", payload)]


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ({"name": "n", "delay": "5s"}, {"delay": "5s"}),
        ({"name": "n", "backoff": {"type": "fixed", "delay": "1s"}}, None),
        ({"name": "n", "remove_on_complete": 5, "job_id": "a"}, None),
    ],
)
async def test_options_arrive_as_they_are_given(data, options):
    async with pen() as p:
        child = await p.child()
        await p.run("follow_up_with", data, child=child)

    given = {name: value for name, value in data.items() if name != "name"}
    assert p.heard[child].calls[0][1] == {"name": "n", "data": None, "options": options or given}


async def test_backoff_object_arrives_as_its_parts():
    async with pen("tests.process.processors.plain:add_with_backoff") as p:
        child = await p.child()
        await p.run("x", child=child)

    options = p.heard[child].calls[0][1]["options"]
    assert options == {"backoff": {"type": "exponential", "delay": "1000ms", "jitter": 0.5}}


@pytest.mark.parametrize(
    ("error", "name", "message"),
    [
        (InvalidJobId("job id is '0:1'"), "InvalidJobId", "job id is '0:1'"),
        (RedisUnavailable("Redis is away"), "RedisUnavailable", "Redis is away"),
        (ValueError("odd"), "TorilError", "ValueError: odd"),
        (ValueError("x" * 100_000), "TorilError", "ValueError: xxx"),
    ],
)
async def test_refusal_is_raised_in_the_job(error, name, message):
    async with pen() as p:
        p.answer = lambda _child, reply: reply.refuse(error)
        outcome = await p.run("follow_up")

    assert (outcome.verdict, outcome.error_name) == (Verdict.RAISED, name)
    assert outcome.message.startswith(message)
    assert "in follow_up" in outcome.stack


async def test_data_that_is_not_json_is_refused_before_it_leaves_the_child():
    async with pen() as p:
        child = await p.child()
        outcome = await p.run("follow_up_strangely", child=child)

    assert outcome.error_name == "InvalidJobData"
    assert p.heard[child].calls == []


async def test_threads_of_a_job_may_ask_together():
    async with pen() as p:
        names = {}

        def answer(child, reply):
            names[child] = p.heard[child].calls[-1][1]["name"]
            reply.give(names[child].removeprefix("next "))

        p.answer = answer
        outcome = await p.run("follow_up_from_threads")

    assert sorted(map(int, json.loads(outcome.value))) == list(range(20))


async def test_job_that_waits_for_a_reply_can_be_stopped():
    async with pen() as p:
        p.answer = lambda *_: None
        child = await p.begin_and_hear("follow_up_and_wait")
        await p.until(lambda: p.heard[child].calls)
        child.interrupt(Verdict.CANCELLED)
        outcome = await p.finish(child)

    assert outcome.verdict is Verdict.CANCELLED
    assert outcome.detail["stage"] == "exception"
    assert p.heard[child].lines("log")[1:] == ["stopped by Cancelled"]


async def test_late_reply_of_an_earlier_attempt_disturbs_nobody():
    async with pen(soft_timeout_s=0.2) as p:
        replies = []
        p.answer = lambda _child, reply: replies.append(reply)
        child = p.begin(await p.child(), "follow_up_and_wait")
        await p.finish(child)
        replies[0].give("13")
        replies[0].give("14")
        outcome = await p.run("echo", 1)

    assert outcome.value == b"1"


async def test_job_may_add_what_is_left_when_it_is_interrupted():
    async with pen() as p:
        child = await p.begin_and_hear("follow_up_in_cleanup")
        child.interrupt(Verdict.INTERRUPTED)
        outcome = await p.finish(child)

    assert (outcome.verdict, outcome.value) == (Verdict.RETURNED, b'"12"')


async def test_flood_of_calls_breaks_a_rule():
    async with pen(HOSTILE) as p:
        p.answer = lambda *_: None
        outcome = await p.run("flood_calls")

    assert outcome.verdict is Verdict.BROKE_PROTOCOL
    assert outcome.detail["rule"] == "more than 16 calls wait for their reply"


@pytest.mark.parametrize(
    ("name", "data", "verdict", "delay_ms"),
    [
        ("postpone", "10s", Verdict.DELAYED, (10_000, 10_000)),
        ("postpone_to", 60, Verdict.DELAYED, (58_000, 60_000)),
        ("postpone_to", -60, Verdict.DELAYED, (0, 0)),
        ("slow_down", "1m30s", Verdict.RATE_LIMITED, (90_000, 90_000)),
    ],
)
async def test_job_may_ask_to_run_later(name, data, verdict, delay_ms):
    async with pen() as p:
        child = await p.child()
        outcome = await p.run(name, data, child=child)
        again = await p.run("echo", 1, child=child)

    assert outcome.verdict is verdict
    assert delay_ms[0] <= outcome.detail["delay_ms"] <= delay_ms[1]
    assert outcome.stack == ""
    assert again.verdict is Verdict.RETURNED


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("postpone", 10, "Delayed(until) is 10; expected a number with a unit"),
        ("postpone", "soon", "Delayed(until) is 'soon'; expected a number with a unit"),
        ("postpone", "40000d", "Delayed(until) is '40000d'; expected between 0 and 10 years"),
        ("postpone_naively", None, "expected a datetime with a time zone"),
        ("postpone_to", 10**9, "expected within 10 years"),
        ("slow_down", None, "RateLimited(after) is None; expected a number with a unit"),
    ],
)
async def test_time_that_cannot_be_is_an_error_of_the_processor(name, data, says):
    async with pen() as p:
        outcome = await p.run(name, data)

    assert (outcome.verdict, outcome.error_name) == (Verdict.RAISED, "InvalidOption")
    assert says in outcome.message
    assert f"in {name}" in outcome.stack


async def test_more_threads_than_may_call_at_a_time_take_turns():
    loop = asyncio.get_running_loop()
    async with pen() as p:
        p.answer = lambda _child, reply: loop.call_later(0.2, reply.give, "12")
        child = await p.child()
        outcome = await p.run("follow_up_from_many_threads", child=child)

    assert outcome.value == b"60"
    assert len(p.heard[child].calls) == 60


async def test_call_that_a_job_left_open_does_not_take_the_next_frame():
    async with pen() as p:
        p.answer = lambda _child, _reply: None
        ends = []
        for _ in range(10):
            child = await p.child()
            await p.run("leave_caller", child=child)
            ends.append(await p.gone(child))

    assert {(end.exit_code, end.signal) for end in ends} == {(0, None)}
