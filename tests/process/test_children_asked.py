"""What a running job asks of its children, and of the queue: how it crosses the wall."""

from __future__ import annotations

import pytest

from tests.process.harness import pen
from toril.call import Verdict
from toril.errors import InvalidJobData, RedisUnavailable
from toril.sizes import MAX_DATA_BYTES


async def test_waiting_for_children_is_an_outcome_of_its_own():
    async with pen() as it:
        outcome = await it.run("wait_for_children")
        assert outcome.verdict is Verdict.WAITING_CHILDREN
        assert (outcome.detail.get("delay_ms"), outcome.stack) == (None, "")
        assert (await it.run("echo", 1)).value == b"1"


@pytest.mark.parametrize(
    "method", ["children_values", "ignored_children_failures", "unprocessed_children"]
)
@pytest.mark.parametrize("size", [0, 1, 100_000])
async def test_answer_of_any_size_reaches_the_job(method: str, size: int):
    text = b"[" + b",".join([b"1"] * size) + b"]"
    async with pen() as it:
        it.answer = lambda _child, reply: reply.give_json(text)
        child = await it.child()
        outcome = await it.run("children", method, child=child)
        assert outcome.value == str(size).encode()
        assert it.heard[child].calls == [(method, None)]


@pytest.mark.parametrize("error", [RedisUnavailable("away"), InvalidJobData("no JSON")])
async def test_error_reaches_the_job_as_itself(error: Exception):
    async with pen() as it:
        it.answer = lambda _child, reply: reply.refuse(error)
        outcome = await it.run("children", "children_values")
        assert outcome.value.decode() == f'"{type(error).__name__}: {error}"'


async def test_answer_over_the_limit_is_an_error_in_the_job():
    text = b'"' + b"x" * MAX_DATA_BYTES + b'"'
    async with pen() as it:
        it.answer = lambda _child, reply: reply.give_json(text)
        outcome = await it.run("children", "children_values")
        assert b"over the limit" in outcome.value


async def test_deduplication_goes_out_as_plain_json():
    async with pen() as it:
        child = await it.child()
        await it.run("follow", child=child)
        ((method, payload),) = it.heard[child].calls
    assert method == "add"
    assert payload["options"]["deduplication"] == {
        "id": "d",
        "ttl": "1s",
        "extend": True,
        "replace": False,
        "keep_last_if_active": False,
        "reschedule": False,
    }
