"""What a child finds around itself, and what it leaves for the next job."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from tests.process.harness import GOOD, HOSTILE, ROOT, Pen, call_of, pen
from toril.call import Verdict

FORBIDDEN = {"redis", "asyncio", "uvloop", "msgspec", "psutil", "hiredis", "multiprocessing"}


async def look_inside(**changes):
    async with pen("tests.process.processors.plain:inside", **changes) as p:
        outcome = await p.run("inside")
        assert outcome.verdict is Verdict.RETURNED, outcome.message
        return json.loads(outcome.value), p


async def test_child_loads_nothing_it_does_not_need():
    found, _ = await look_inside()

    ours = {name for name in found["modules"] if name.split(".")[0] == "toril"}
    assert {name.split(".")[0] for name in found["modules"]} & FORBIDDEN == set()
    assert {
        name for name in ours if name.startswith(("toril.runtime", "toril.supervisor"))
    } == set()
    assert "toril.sandbox.launcher" not in ours


async def test_child_inherits_its_sockets_and_streams_only():
    found, _ = await look_inside()

    assert found["fds"] == [0, 1, 2, 3, 4, 5, 6]
    assert found["stdin"] == "/dev/null"


async def test_child_has_a_place_of_its_own():
    found, p = await look_inside()

    assert found["session"]
    assert found["parent"] == p.zygote.pid
    assert found["cwd"] == str(ROOT)
    assert found["umask"] == 0o077
    assert found["nice"] == min(19, os.nice(0) + 5)
    assert found["scheduler"] == os.SCHED_BATCH
    assert found["oom"] == 500
    assert found["limits"]["core"] == [0, 0]
    assert found["limits"]["data"][0] >= 512 * 1024 * 1024
    assert found["blocked"] == []
    assert found["gc"]


async def test_environment_is_made_from_nothing(monkeypatch):
    monkeypatch.setenv("TORIL_REDIS_URL", "redis://:secret@localhost")
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    monkeypatch.setenv("AWS_SECRET", "secret")
    monkeypatch.setenv("IMAGE_BUCKET", "bucket")
    monkeypatch.setenv("LC_TIME", "C.UTF-8")
    found, _ = await look_inside(env_names=("IMAGE_BUCKET",))

    environ = found["environ"]
    assert "secret" not in json.dumps(environ)
    assert environ["IMAGE_BUCKET"] == "bucket"
    assert environ["LC_TIME"] == "C.UTF-8"
    assert environ["PATH"] == os.environ["PATH"]
    assert environ["OPENBLAS_NUM_THREADS"] == environ["OMP_NUM_THREADS"] == "1"
    allowed = {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV"}
    others = {
        name
        for name in environ
        if name not in allowed and not name.startswith(("LC_", "SSL_CERT_"))
    }
    assert others == {
        "IMAGE_BUCKET",
        "OPENBLAS_NUM_THREADS",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    }


async def test_threads_of_numeric_libraries_can_be_chosen():
    found, _ = await look_inside(threads=4)

    assert found["environ"]["OPENBLAS_NUM_THREADS"] == "4"


async def test_title_names_queue_slot_and_job():
    async with pen(GOOD) as p:
        child = await p.child(slot=2)
        outcome = await p.run("title", child=child)
        await p.idle(child)
        idle = _title_of(child.pid)
        zygote = _title_of(p.zygote.pid)

    assert json.loads(outcome.value) == "toril: cattle child 2 title"
    assert zygote == "toril: cattle zygote"
    assert idle.startswith("toril: cattle child 2")


def _title_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0")


async def test_children_of_one_zygote_draw_different_random_numbers():
    async with pen("tests.process.processors.plain:draw") as p:
        drawn = [json.loads((await p.run("draw")).value) for _ in range(3)]

    assert len(set(drawn)) == 3


async def test_next_job_finds_everything_in_its_place():
    """A processor that replaces what the child itself uses spoils nothing but its own job."""
    async with pen(HOSTILE) as p:
        child = await p.child()
        spoiled = await p.run("spoil_everything", child=child)
        after = await p.run("look_around", child=child)

    assert spoiled.value == b'"spoiled"'
    assert json.loads(after.value) == {"cwd": str(ROOT), "umask": 0o077, "builtins": True}
    assert p.heard[child].lines("stdout") == ["stdout works"]
    assert p.heard[child].lines("stderr") == ["stderr works"]


async def test_job_after_a_spoiler_can_still_be_interrupted():
    async with pen(HOSTILE) as p:
        child = await p.child()
        await p.run("spoil_everything", child=child)
        await p.until(lambda: p.heard[child].idles == 2)
        p.begin(child, "wait_forever")
        await p.until(lambda: p.heard[child].lines("log"))
        child.interrupt(Verdict.INTERRUPTED)
        outcome = await p.finish(child)

    assert outcome.verdict is Verdict.INTERRUPTED
    assert "Interrupted" in outcome.stack


async def test_hooks_and_timers_of_a_job_end_with_it():
    async with pen(HOSTILE) as p:
        child = await p.child()
        left = await p.run("leave_hooks", child=child)
        after = await p.run("meet_hooks", child=child)

    assert left.value == b'"left"'
    assert json.loads(after.value) == [100, True, 0]


@pytest.mark.parametrize("name", ["leave_thread", "leave_thread_unseen"])
async def test_child_with_a_thread_left_is_replaced(name):
    async with pen(HOSTILE) as p:
        child = await p.child()
        outcome = await p.run(name, child=child)
        end = await p.gone(child)

    assert outcome.value == b'"left"'
    assert (end.expected, end.exit_code) == (True, 0)
    assert p.heard[child].idles == 1


async def test_event_loop_of_a_processor_works():
    async with pen(GOOD) as p:
        outcome = await p.run("run_coroutine")

    assert outcome.value == b"42"


async def test_child_that_cannot_be_set_up_never_runs(tmp_path):
    """Setting up fails here because the working directory is gone when the child is forked."""
    folder = tmp_path / "work"
    folder.mkdir()
    async with pen(GOOD, working_directory=folder) as p:
        folder.rmdir()
        child = await p.child()
        end = await p.gone(child)

    assert (end.reason, end.expected, end.ran) == (Verdict.UNAVAILABLE, False, 0)
    assert 'failed at step "working directory": FileNotFoundError' in end.message
    assert p.heard[child].idles == 0


@pytest.mark.parametrize("count", [8])
async def test_forks_are_quick_and_can_be_asked_for_together(count):
    async with pen(GOOD) as p:
        begun = time.monotonic()
        children = [p.zygote.fork(slot) for slot in range(count)]
        await p.until(lambda: all(p.heard[child].idles for child in children))
        took_s = time.monotonic() - begun

    assert took_s < 2
    assert len({child.pid for child in children}) == count


async def test_child_takes_its_next_call_in_the_turn_of_its_outcome():
    """No turn of the loop lies between what it came to and the next offer."""
    loop, told = asyncio.get_running_loop(), []

    class Eager(Pen):
        def on_outcome(self, child, call, outcome):
            super().on_outcome(child, call, outcome)
            told.append("outcome")
            loop.call_soon(told.append, "turn")

        def on_idle(self, child):
            super().on_idle(child)
            told.append("idle")
            if 0 < child.jobs_run < 3:
                child.run(call_of("echo", 1))

    async with pen() as p:
        child = await p.child()
        child.listener = eager = Eager()
        child.run(call_of("echo", 1))
        await eager.until(lambda: eager.heard[child].idles == 3)
        child.listener = p
        p.heard[child].outcomes = eager.heard[child].outcomes

    assert told == ["outcome", "idle", "turn"] * 3
