"""A child is watched when no job is at work, too: after one, and while it imports."""

from __future__ import annotations

import asyncio

import pytest

from tests.process.harness import pen
from tests.process.processors.imports import write_module
from toril.call import Verdict
from toril.sandbox import home
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


HOSTILE_IMPORTS = {
    "hangs": ("while True:\n    time.sleep(1)", Verdict.UNAVAILABLE),
    "floods its output": ("while True:\n    os.write(1, b'\\n' * 65536)", Verdict.UNAVAILABLE),
    "exits": ("os._exit(0)", Verdict.UNAVAILABLE),
    "says that it is ready": (
        "os.write(3, encode(FrameType.READY, 0, b''))",
        Verdict.BROKE_PROTOCOL,
    ),
    "speaks before it is ready": (
        "while True:\n    os.write(3, encode(FrameType.LOG, 1, b'x' * 60000))",
        Verdict.BROKE_PROTOCOL,
    ),
    "answers before it is asked": (
        "os.write(3, encode(FrameType.RESULT, 1, b'1'))",
        Verdict.BROKE_PROTOCOL,
    ),
    "closes its socket": ("os.close(3)\ntime.sleep(60)", Verdict.DISCONNECTED),
    "kills everybody": (
        "import signal\ntry:\n    os.kill(-1, 9)\nexcept OSError:\n    os._exit(7)",
        Verdict.UNAVAILABLE,
    ),
}


@pytest.mark.parametrize("what", HOSTILE_IMPORTS)
async def test_import_behind_the_wall_that_is_hostile_ends_its_child_only(
    what, tmp_path, monkeypatch
):
    monkeypatch.setattr(home, "READY_S", 1.0)
    source, reason = HOSTILE_IMPORTS[what]
    head = "import os, time\nfrom toril.sandbox.frames import FrameType, encode\n"
    path = write_module(tmp_path, "foul", head + source)
    async with pen(path, folder=tmp_path, import_in="child", **LIMITS) as p:
        async with asyncio.timeout(20):
            end = await p.gone(await p.child())
            again = await p.gone(await p.child())

        assert p.zygote_ends == []
    assert (end.reason, end.expected, end.ran) == (reason, False, 0)
    assert again.reason is reason


async def test_fault_that_an_import_forges_is_bounded(tmp_path):
    """Its words are the child's own, whoever makes them up."""
    words = {"step": "import", "error": "\x1b[2Jgone\r\nroot:", "remedy": "\x9b" * 9000}
    source = f"""
        import json, os
        from toril.sandbox.frames import FrameType, encode
        said = {{**{words!r}, "traceback": "\\x1b]0;x\\x07", "is_import": True}}
        os.write(3, encode(FrameType.FAULT, 0, json.dumps(said).encode()))
        os._exit(70)
        """
    path = write_module(tmp_path, "liar", source)
    async with pen(path, folder=tmp_path, import_in="child", **LIMITS) as p:
        end = await p.gone(await p.child())

    assert end.reason is Verdict.IMPORT_FAILED
    assert len(end.remedy) <= 1024
