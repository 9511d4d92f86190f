"""Level `strict` by its effects: what a child sees, what it reaches, how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.harness import ROOT, is_alive, pen
from tests.support.hidden import LANDLOCK, MOUNTS, NAMESPACES, behind
from toril.call import Verdict
from toril.errors import ProcessorImportError
from toril.sandbox import cgroup
from toril.sandbox.allow import Allow
from toril.sandbox.levels import Level
from toril.sandbox.limits import PROCESSES

MIB = 1024 * 1024
APART = "apart:processors"
SECRET = "a private key"


@pytest.fixture
def folder(tmp_path):
    """An import path of its own: a processor, and a secret beside it that is not for it."""
    shutil.copy(Path(__file__).parent / "processors" / "apart.py", tmp_path)
    (tmp_path / ".env").write_text(SECRET)
    return tmp_path


def strict(folder, **changes):
    defaults = {"level": Level.STRICT, "waive": ("cgroup",), "folder": folder}
    return pen(APART, **(defaults | {"working_directory": folder} | changes))


async def value(p, name, data=None):
    """The result of a job in a new child."""
    outcome = await p.run(name, data)
    assert outcome.verdict is Verdict.RETURNED, outcome
    return json.loads(outcome.value)


async def test_child_is_alone_in_its_namespaces(folder):
    async with strict(folder) as p:
        seen = await value(p, "look")

    assert (seen["pid"], seen["parent"]) == (1, 0)
    assert (seen["host"], seen["proc"], seen["bounding"]) == ("child", False, [])
    assert (seen["here"], seen["held"], seen["umask"]) == ("/job", [], 0o077)
    assert {"home", "root", "proc", "sys", "run", "var"}.isdisjoint(seen["root"])


async def test_host_is_neither_seen_nor_written(folder):
    module, secret = str(folder / "apart.py"), str(folder / ".env")
    async with strict(folder) as p:
        found = await value(p, "reach", [module, secret, "/etc/shadow", "/proc/1/environ"])

    read_only = {"Read-only file system", "Permission denied"}
    assert found[module][:2] == ["ok", "ok"]
    assert found[module][2] in read_only
    absent = ["No such file or directory"] * 2
    for path in (secret, "/etc/shadow", "/proc/1/environ"):
        assert found[path][:2] == absent
        assert found[path][2] in read_only | set(absent)


async def test_nothing_is_started_but_threads(folder):
    async with strict(folder) as p:
        found = await value(p, "start")

    assert found == {
        "fork": "Operation not permitted",
        "exec": "Operation not permitted",
        "thread": "ok",
        "kill all": "Operation not permitted",
        "unshare": "refused",
    }


async def test_threads_are_bounded(folder):
    async with strict(folder) as p:
        assert await value(p, "threads") < PROCESSES


async def test_work_directory_is_full_at_its_limit(folder):
    async with strict(folder, allow=Allow(tmp_size_bytes=8 * MIB)) as p:
        why, size = await value(p, "fill", 32 * MIB)

    assert (why, size) == ("No space left on device", 8 * MIB)


async def test_allowed_paths_are_there_with_what_is_allowed(folder):
    given, taken = folder / "given", folder / "taken"
    for path in (given, taken):
        path.mkdir(mode=0o777)
        path.chmod(0o777)
    (given / "in").write_text("in")
    allow = Allow(read=(str(given),), write=(str(taken),))
    async with strict(folder, allow=allow) as p:
        found = await value(p, "reach", [str(given / "in")])
        size = await value(p, "write", {"path": str(taken / "out"), "text": "done"})

    assert found[str(given / "in")][:2] == ["ok", "ok"]
    assert found[str(given / "in")][2] in {"Read-only file system", "Permission denied"}
    assert size == 4
    assert (taken / "out").read_text() == "done"


async def test_processor_is_imported_after_confinement(folder):
    """Whatever its author put at the top of the module runs behind the wall."""
    (folder / "apart.py").write_text("open('/etc/shadow')")
    async with strict(folder) as p:
        end = await p.gone(await p.child())

    assert end.reason is Verdict.IMPORT_FAILED
    assert "/etc/shadow" in end.message


async def test_preloaded_library_is_the_zygotes(folder):
    (folder / "apart_library.py").write_text("import os\nPID = os.getpid()\n")
    async with strict(folder, preload=("apart_library",)) as p:
        assert await value(p, "preloaded") == p.zygote.pid
    async with strict(folder) as p:
        assert await value(p, "preloaded") == 1


async def test_library_that_cannot_be_preloaded_is_named(folder):
    with pytest.raises(ProcessorImportError, match="'apart_none', which preload names"):
        async with strict(folder, preload=("apart_none",)):
            pass


async def test_deadline_interrupts_the_first_process_of_a_namespace(folder):
    """The kernel ignores a signal for which such a process has no handler: it has one."""
    async with strict(folder, timeout_s=0.5) as p:
        outcome = await p.run("spin")

    assert (outcome.verdict, outcome.detail["stage"]) == (Verdict.TIMED_OUT, "exception")


async def test_stack_of_a_running_job_can_be_asked_for(folder):
    async with strict(folder) as p:
        child = await p.begin_and_hear("spin")
        answer = asyncio.get_running_loop().create_future()
        child.ask_stack(answer.set_result)
        text = await answer

    assert "in spin" in text


@pytest.mark.parametrize(
    ("name", "verdict", "detail"),
    [
        ("abort", Verdict.CRASHED, {"signal": "SIGSEGV"}),
        ("leave", Verdict.EXITED, {"exit_code": 0}),
    ],
)
async def test_death_of_the_first_process_is_told(folder, name, verdict, detail):
    """An abort shows as SIGSEGV: the kernel ignores SIGABRT there, and libc goes on to the next."""
    async with strict(folder) as p:
        outcome = await p.run(name)

    assert outcome.verdict is verdict
    assert detail.items() <= outcome.detail.items()


async def test_child_cannot_stop_itself(folder):
    async with strict(folder) as p:
        assert await value(p, "stop_itself") == "going on"


async def test_usage_is_measured_from_outside(folder):
    async with strict(folder, timeout_s=0.3) as p:
        outcome = await p.run("spin")

    assert outcome.usage.cpu_ms > 10
    async with strict(folder) as p:
        outcome = await p.run("look")

    assert outcome.usage.peak_memory_bytes > MIB


async def test_child_dies_with_its_zygote(folder):
    async with strict(folder) as p:
        child = await p.begin_and_hear("spin")
        os.kill(p.zygote.pid, signal.SIGKILL)
        await p.gone(child)

    assert not is_alive(child.pid)
    assert child.process.was_killed


async def test_many_children_come_and_go_side_by_side(folder):
    async with strict(folder) as p:
        children = [p.zygote.fork(slot) for slot in range(1, 9)]
        await p.until(lambda: all(p.heard[one].idles for one in children))
        for child in children:
            p.begin(child, "look")
        seen = [json.loads((await p.finish(child)).value) for child in children]
        uids = {one["uid"] for one in seen}

    assert [one["pid"] for one in seen] == [1] * 8
    assert len(uids) == (8 if os.getuid() == 0 else 1)
    assert not any(is_alive(child.pid) for child in children)


async def test_zygote_stops_while_children_are_born(folder):
    async with strict(folder) as p:
        children = [p.zygote.fork(slot) for slot in range(1, 5)]

    assert all(p.heard[child].exits for child in children)
    assert not any(child.pid and is_alive(child.pid) for child in children)


def begun(folder, *, hidden="", waived="cgroup", **how):
    """What a start in a process of its own prints."""
    command = [sys.executable, "-m", "tests.process.begin", "strict", str(folder), waived]
    done = subprocess.run(
        behind(hidden, command) if hidden else command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
        **how,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become an ordinary user")
def test_ordinary_user_has_it_too(folder):
    seen = json.loads(begun(folder, user=65534, group=65534, extra_groups=[]))

    assert (seen["pid"], seen["uid"], seen["proc"], seen["bounding"]) == (1, 65534, False, [])
    assert (seen["here"], seen["held"]) == ("/job", [])


@pytest.mark.parametrize(
    ("hidden", "words"),
    [
        (NAMESPACES, "namespaces: namespaces cannot be made and mounted in: PermissionError"),
        (MOUNTS, "namespaces: namespaces cannot be made and mounted in: PermissionError"),
        (LANDLOCK, "landlock: kernel"),
    ],
)
def test_host_that_lacks_a_mechanism_is_refused_by_its_name(folder, hidden, words):
    said = begun(folder, hidden=hidden)

    assert 'level "strict" cannot be enforced on this host' in said
    assert words in said
    assert "--level process" in said


def test_memory_that_no_group_bounds_has_to_be_accepted_in_writing(folder):
    if cgroup.look()[0]:
        pytest.skip("needs a host without a delegated control group")

    said = begun(folder, waived="")

    assert "cgroup: memory and pids are not among the controllers" in said
    assert "--waive cgroup" in said
