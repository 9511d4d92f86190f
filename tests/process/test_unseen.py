"""A child is watched when no job is at work, too: after one, and while it imports."""

from __future__ import annotations

import asyncio

import pytest

from tests.process.harness import pen
from tests.process.processors.imports import write_module
from toril.call import Verdict
from toril.sandbox.allow import Allow
from toril.sandbox.levels import Level

MIB = 1024 * 1024
LIMITS = {
    "level": Level.RESTRICTED,
    "allow": Allow(tmp_size_bytes=16 * MIB),
    "memory_bytes": 64 * MIB,
    "max_threads": 40,
}
TAKEN = {
    "memory": Verdict.OVER_MEMORY,
    "disk": Verdict.OVER_DISK,
    "threads": Verdict.OVER_THREADS,
}


@pytest.mark.parametrize("what", TAKEN)
async def test_child_that_goes_on_after_its_job_is_ended(what):
    """The job is over, and Python does not know of the thread: nobody else would see it."""
    async with pen("tests.process.processors.unseen:later", **LIMITS) as p:
        child = await p.child()
        outcome = await p.run("x", what, child=child)
        async with asyncio.timeout(20):
            end = await p.gone(child)

    assert outcome.verdict is Verdict.RETURNED
    assert (end.reason, end.expected) == (TAKEN[what], False)


@pytest.mark.parametrize("what", TAKEN)
async def test_import_that_takes_too_much_behind_the_wall_is_ended(what, tmp_path):
    path = write_module(
        tmp_path,
        "greedy",
        f"""
        import time
        from tests.process.processors import unseen
        unseen.take({what!r})
        time.sleep(60)
        """,
    )
    async with pen(path, folder=tmp_path, import_in="child", **LIMITS) as p:
        async with asyncio.timeout(20):
            end = await p.gone(await p.child())

    assert (end.reason, end.expected, end.ran) == (TAKEN[what], False, 0)
