"""What a processor's module does beside running jobs, and where it is imported."""

from __future__ import annotations

import json

import pytest

from tests.process.harness import pen
from tests.process.processors.imports import write_module
from toril.call import Verdict

COUNTED = """
import os, sys
calls = []
def setup():
    calls.append("setup")
    print("setting up")
    return {"pid": os.getpid()}
def teardown():
    print("tearing down", flush=True)
def look(job):
    return [job.env, calls, os.getpid()]
"""


async def test_setup_runs_once_in_every_child_and_its_value_is_the_jobs_env(tmp_path):
    (tmp_path / "counted.py").write_text(COUNTED)
    async with pen("counted:look", folder=tmp_path) as p:
        first, second = await p.child(1), await p.child(2)
        found = [json.loads((await p.run("x", child=child)).value) for child in (first, first)]
        other = json.loads((await p.run("x", child=second)).value)
        first.retire()
        end = await p.gone(first)

    assert found[0] == found[1] == [{"pid": first.pid}, ["setup"], first.pid]
    assert other == [{"pid": second.pid}, ["setup"], second.pid]
    assert (end.expected, end.exit_code) == (True, 0)
    assert p.heard[first].lines("stdout") == ["setting up", "tearing down"]


async def test_env_is_none_without_setup():
    async with pen("tests.process.processors.plain:env_of") as p:
        assert (await p.run("x")).value == b"null"


async def test_teardown_runs_after_the_last_job_of_a_child_that_has_to_leave(tmp_path):
    (tmp_path / "leaves.py").write_text(
        "def teardown():\n    print('torn down')\ndef process(job):\n    raise SystemExit\n"
    )
    async with pen("leaves:process", folder=tmp_path) as p:
        child = await p.child()
        await p.run("x", child=child)
        end = await p.gone(child)

    assert p.heard[child].lines("stdout") == ["torn down"]
    assert end.expected


async def test_teardown_runs_in_idle_children_when_the_zygote_stops(tmp_path):
    (tmp_path / "counted.py").write_text(COUNTED)
    async with pen("counted:look", folder=tmp_path) as p:
        child = await p.child()
        await p.zygote.stop()

    assert p.heard[child].lines("stdout") == ["setting up", "tearing down"]
    assert (p.heard[child].exits[0].expected, p.heard[child].exits[0].exit_code) == (True, 0)


@pytest.mark.parametrize("body", ["raise ValueError('cannot')", "while True: pass"])
async def test_teardown_that_fails_or_hangs_holds_nobody_up(tmp_path, body):
    (tmp_path / "hangs.py").write_text(
        f"def teardown():\n    {body}\ndef process(job):\n    return 1\n"
    )
    async with pen("hangs:process", folder=tmp_path, grace_s=0.1) as p:
        child = await p.child()
        child.retire()
        end = await p.gone(child)

    assert end.expected
    said = "\n".join(p.heard[child].lines("stderr"))
    assert ("ValueError: cannot" in said) == ("raise" in body)


async def test_setup_that_fails_is_told_like_an_import_that_fails(tmp_path):
    source = "def helper():\n    raise OSError('no model')\ndef setup():\n    helper()\n"
    path = write_module(tmp_path, "no_model", source)
    async with pen(path, folder=tmp_path) as p:
        child = await p.child()
        end = await p.gone(child)

    assert (end.reason, end.expected, end.ran) == (Verdict.IMPORT_FAILED, False, 0)
    assert end.message == "setup() of processor 'no_model:process' failed: OSError: no model"
    assert "in helper" in end.traceback
    assert "toril/sandbox" not in end.traceback
    assert end.remedy.startswith("Mend the module")


async def test_setup_may_exit_without_harm(tmp_path):
    path = write_module(tmp_path, "exits", "def setup():\n    raise SystemExit(3)\n")
    async with pen(path, folder=tmp_path) as p:
        end = await p.gone(await p.child())

    assert end.reason is Verdict.IMPORT_FAILED
    assert "SystemExit: 3" in end.message


OPENS = """
import os, socket, threading
kept = socket.socket()
threading.Thread(target=threading.Event().wait, daemon=True).start()
born = os.getpid()
def process(job):
    return born == os.getpid()
"""


async def test_processor_imported_in_the_child_may_open_what_it_likes(tmp_path):
    (tmp_path / "opens.py").write_text(OPENS)
    async with pen("opens:process", folder=tmp_path, import_in="child") as p:
        child = await p.child()
        values = [(await p.run("x", child=child)).value for _ in range(2)]
        await p.idle(child)

    assert values == [b"true", b"true"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import nowhere_to_be_found\n", "ModuleNotFoundError"),
        ("def helper():\n    1 / 0\nhelper()\n", "ZeroDivisionError"),
        ("import sys\nsys.exit(4)\n", "SystemExit: 4"),
    ],
)
async def test_import_that_fails_in_the_child_is_told_with_its_traceback(tmp_path, source, says):
    path = write_module(tmp_path, "fails", source)
    async with pen(path, folder=tmp_path, import_in="child") as p:
        child = await p.child()
        end = await p.gone(child)

    assert (end.reason, end.expected) == (Verdict.IMPORT_FAILED, False)
    assert end.message.startswith("importing processor 'fails:process' failed: ")
    assert says in end.message
    assert says in end.traceback
    assert 'fails.py", line' in end.traceback
    assert "toril/sandbox" not in end.traceback
    assert end.remedy


async def test_path_that_leads_nowhere_is_told_by_the_child_too():
    async with pen("tests.process.processors.good:ekho", import_in="child") as p:
        end = await p.gone(await p.child())

    assert end.reason is Verdict.IMPORT_FAILED
    assert "did you mean 'echo'?" in end.message


async def test_async_processor_runs():
    async with pen() as p:
        child = await p.child()
        values = [(await p.run("answer_later", n, child=child)).value for n in range(3)]
        refused = await p.run("refuse_in_coroutine", child=child)
        after = await p.run("echo", 1, child=child)

    assert values == [b"0", b"1", b"2"]
    assert (refused.verdict, refused.message) == (Verdict.RAISED, "no good, later")
    assert "in refuse_in_coroutine" in refused.stack
    assert "toril/sandbox" not in refused.stack
    assert after.value == b"1"


@pytest.mark.parametrize(
    ("source", "is_loaded"),
    [
        ("async def process(job):\n    return 'asyncio' in before\n", b"true"),
        ("def process(job):\n    return 'asyncio' in sys.modules\n", b"false"),
    ],
)
async def test_asyncio_is_loaded_where_a_processor_needs_it_only(tmp_path, source, is_loaded):
    (tmp_path / "needs.py").write_text(
        "import sys\nbefore = ()\ndef setup():\n    global before\n    before = set(sys.modules)\n"
        + source
    )
    async with pen("needs:process", folder=tmp_path) as p:
        assert (await p.run("x")).value == is_loaded


@pytest.mark.parametrize("threads", [1, 3])
async def test_numeric_libraries_may_start_so_many_threads(threads):
    async with pen("tests.process.processors.plain:inside", threads=threads) as p:
        environ = json.loads((await p.run("x")).value)["environ"]

    counts = {environ[f"{name}_NUM_THREADS"] for name in ("OPENBLAS", "OMP", "MKL", "NUMEXPR")}
    assert counts == {str(threads)}
