"""Level `restricted` by its effect: what is refused, what is let through, and in which words."""

# ruff: noqa: ASYNC240 - nothing else runs on the loop while a test looks at a file

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import stat
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.process.harness import Pen, pen, spec_of
from toril.call import Verdict
from toril.errors import ProcessorImportError, SandboxUnavailable
from toril.sandbox.allow import Allow
from toril.sandbox.launcher import Zygote
from toril.sandbox.levels import Level

WALLED = "tests.process.processors.walled:processors"


def behind_the_wall(**changes):
    return pen(WALLED, **({"level": Level.RESTRICTED} | changes))


async def outcome_of(name: str, data=None, **changes):
    async with behind_the_wall(**changes) as p:
        return await p.run(name, data)


async def value_of(name: str, data=None, **changes):
    outcome = await outcome_of(name, data, **changes)
    assert outcome.verdict is Verdict.RETURNED, outcome.message
    return json.loads(outcome.value)


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text("hidden")
    return str(path)


@contextmanager
def listening():
    """A TCP server that greets; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet():
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                peer.sendall(b"hello")

        thread = threading.Thread(target=greet)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


async def test_ordinary_work_is_let_through():
    async with behind_the_wall() as p:
        child = await p.child()
        for name, expected in (
            ("database", 499500),
            ("threads", 8),
            ("loop", "done"),
            ("late_import", "wave"),
        ):
            outcome = await p.run(name, child=child)
            assert (outcome.verdict, json.loads(outcome.value)) == (Verdict.RETURNED, expected)


async def test_a_child_has_no_privileges_left():
    capabilities, no_new_privileges, filters = await value_of("about_itself")
    assert int(capabilities, 16) & ~0b10 == 0
    assert (no_new_privileges, filters) == ("1", "2")


async def test_a_child_works_in_an_empty_directory_of_its_own():
    async with behind_the_wall() as p:
        found = json.loads((await p.run("surroundings")).value)
        other = json.loads((await p.run("surroundings")).value)
        work = Path(found["cwd"])
        assert (found["tmp"], found["listed"], found["mode"]) == (str(work), [], 0o700)
        assert found["made"].startswith(f"{work}/")
        assert other["cwd"] != found["cwd"]
        # Other users, as which root's children run, have to pass it.
        assert stat.S_IMODE(work.parent.stat().st_mode) == (0o711 if os.getuid() == 0 else 0o700)

    assert not work.parent.exists()


async def test_what_a_job_leaves_in_it_is_gone_for_the_next_one(secret):
    async with behind_the_wall() as p:
        child = await p.child()
        await p.run("litter", secret, child=child)
        found = json.loads((await p.run("surroundings", child=child)).value)
        assert found["listed"] == []
    assert Path(secret).read_text() == "hidden"


async def test_a_killed_childs_directory_goes_with_it():
    async with behind_the_wall() as p:
        child = await p.begin_and_hear("nap")
        work = Path(p.heard[child].lines("log")[0])
        (work / "left").mkdir(mode=0)
        child.kill(Verdict.CANCELLED)
        await p.gone(child)
        assert (await p.run("threads")).verdict is Verdict.RETURNED
    assert not work.parent.exists()


async def test_a_killed_zygotes_directories_go_with_it():
    made = Pen()
    made.zygote = await Zygote.start(spec_of(WALLED, level=Level.RESTRICTED), made)
    child = await made.begin_and_hear("nap")
    root = Path(made.heard[child].lines("log")[0]).parent
    os.kill(made.zygote.pid, 9)
    await made.until(lambda: made.zygote_ends)
    await made.zygote.stop()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert not root.exists()


async def test_a_siblings_directory_is_out_of_reach():
    async with behind_the_wall() as p:
        child = await p.begin_and_hear("nap")
        work = p.heard[child].lines("log")[0]
        for name, data in (("listed", work), ("write", f"{work}/x"), ("move", f"{work}/y")):
            outcome = await p.run(name, data)
            assert outcome.verdict is Verdict.RAISED
        child.kill(Verdict.CANCELLED)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fork", "start no processes: --allow-exec"),
        ("worker", "start no processes: --allow-exec"),
        ("pool", "no shared semaphores, which multiprocessing needs"),
        ("copy", "change no modes.*shutil.copyfile"),
        ("signal_parent", "reach no other process"),
        ("resolve", "no network: --allow-network"),
        ("fetch", "no network: --allow-network"),
    ],
)
async def test_what_is_refused_says_why_and_what_lets_it(name, words):
    async with behind_the_wall() as p:
        child = await p.child()
        outcome = await p.run(name, child=child)
        assert outcome.verdict is Verdict.RAISED
        assert 'Level "restricted" ' in outcome.message
        assert all(part in outcome.message for part in words.split(".*")), outcome.message
        assert (await p.run("threads", child=child)).verdict is Verdict.RETURNED


async def test_programs_are_refused_with_the_way_to_allow_them():
    outcome = await outcome_of("run", ["true"])
    assert outcome.verdict is Verdict.RAISED
    assert "start no processes: --allow-exec" in outcome.message


async def test_a_file_that_was_not_allowed_is_named_with_the_way_to_allow_it(secret):
    async with behind_the_wall() as p:
        for name in ("read", "wrapped"):
            outcome = await p.run(name, secret)
            assert f"read {secret}: --allow-read" in outcome.message
        outcome = await p.run("write", f"{secret}-new")
        assert f"created in {Path(secret).parent}: --allow-write" in outcome.message
        outcome = await p.run("silenced", secret)
        assert outcome.message == "bad input"
        assert Path(secret).read_text() == "hidden"
        assert not Path(f"{secret}-new").exists()


async def test_a_file_that_its_own_mode_closes_is_not_blamed_on_the_wall(tmp_path):
    folder = tmp_path / "gone"
    outcome = await outcome_of("read", str(folder / "x"))
    assert outcome.error_name == "FileNotFoundError"
    assert "Level" not in outcome.message


async def test_sources_are_readable_and_configuration_beside_them_is_not(tmp_path):
    for name in ("app/__init__.py", "app/data.txt", "app/.env", ".env", "toril.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "work.py").write_text("def read(job):\n    return open(job.data).read()\n")
    async with pen("work:read", folder=tmp_path, level=Level.RESTRICTED) as p:
        for name in ("work.py", "app/__init__.py", "app/data.txt"):
            outcome = await p.run("x", str(tmp_path / name))
            assert outcome.verdict is Verdict.RETURNED, name
        for name in (".env", "app/.env", "toril.toml"):
            outcome = await p.run("x", str(tmp_path / name))
            assert outcome.error_name == "PermissionError", name


async def test_what_the_supervisor_reads_for_itself_is_not_readable_whatever_its_name(tmp_path):
    package = tmp_path / "app"
    package.mkdir()
    for name in ("__init__.py", "worker.ini", "words.txt"):
        (package / name).write_text("")
    (package / "work.py").write_text("def read(job):\n    return open(job.data).read()\n")
    hidden = (str(package / "worker.ini"), str(package / "words.txt"))
    level = {"level": Level.RESTRICTED, "waive": ("cgroup",)}
    async with pen("app.work:read", folder=tmp_path, hidden=hidden, **level) as p:
        for path in hidden:
            assert (await p.run("x", path)).error_name == "PermissionError"
        assert (await p.run("x", str(package / "work.py"))).verdict is Verdict.RETURNED
    allow = Allow(read=(str(package),))
    with pytest.raises(SandboxUnavailable, match=r"worker\.ini, which only the supervisor may"):
        await Zygote.start(
            spec_of("app.work:read", folder=tmp_path, hidden=hidden, allow=allow, **level), Pen()
        )


async def test_what_is_declared_readable_is_readable_and_no_more(secret):
    Path(secret).chmod(0o666)
    async with behind_the_wall(allow=Allow(read=(str(Path(secret).parent),))) as p:
        assert json.loads((await p.run("read", secret)).value) == "hidden"
        outcome = await p.run("append", secret)
        assert f"{secret} be read, not changed: --allow-write" in outcome.message
        outcome = await p.run("chmod", secret)
        assert outcome.error_name == "PermissionError"


async def test_what_is_declared_writable_is_writable(tmp_path):
    async with behind_the_wall(allow=Allow(write=(str(tmp_path),))) as p:
        child = await p.child()
        for name, target in (("write", "a"), ("append", "a"), ("move", "b")):
            outcome = await p.run(name, str(tmp_path / target), child=child)
            assert outcome.verdict is Verdict.RETURNED, outcome.message
    assert (tmp_path / "a").read_text() == "xmore"
    assert (tmp_path / "b").read_text() == "x"


async def test_no_socket_leads_out(tmp_path):
    path = str(tmp_path / "redis.sock")
    with socket.socket(socket.AF_UNIX) as server, listening() as port:
        server.bind(path)
        server.listen()
        async with behind_the_wall() as p:
            for name, data in (("connect", port), ("local_socket", path), ("datagrams", path)):
                outcome = await p.run(name, data)
                assert outcome.error_name == "PermissionError"


async def test_an_allowed_network_is_tcp_and_still_no_local_socket(tmp_path):
    path = str(tmp_path / "redis.sock")
    with socket.socket(socket.AF_UNIX) as server, listening() as port:
        server.bind(path)
        server.listen()
        async with behind_the_wall(allow=Allow(network=("tcp",))) as p:
            assert json.loads((await p.run("connect", port)).value) == "hello"
            outcome = await p.run("local_socket", path)
            assert "no local (unix) sockets" in outcome.message
            assert (await p.run("resolve")).error_name == "gaierror"
            assert (await p.run("datagrams", path)).error_name == "PermissionError"


async def test_allowed_processes_run_behind_the_same_wall(secret):
    async with behind_the_wall(allow=Allow(exec=True)) as p:
        assert json.loads((await p.run("run", ["echo", "hi"])).value) == "hi\n"
        assert json.loads((await p.run("run_briefly")).value) == "killed"
        outcome = await p.run("run", ["cat", secret])
        assert outcome.error_name == "CalledProcessError"
        outcome = await p.run("signal_parent")
        assert outcome.error_name == "PermissionError"


async def test_a_child_cannot_give_up_dying_with_its_zygote():
    assert (await outcome_of("forget_death_signal")).error_name == "PermissionError"


async def test_a_processor_that_is_imported_in_the_child_is_imported_behind_the_wall(
    tmp_path, secret
):
    (tmp_path / "peeping.py").write_text(f"open({secret!r}).read()\ndef run(job): ...\n")
    spec = {"folder": tmp_path, "level": Level.RESTRICTED}
    async with pen("peeping:run", **spec, import_in="child") as p:
        child = await p.child()
        (exit_,) = p.heard[child].exits
        assert exit_.reason is Verdict.IMPORT_FAILED
        assert "--allow-read" in exit_.remedy
    async with pen("peeping:run", **spec) as p:  # The zygote imports before any wall is there.
        assert (await p.run("x")).verdict is Verdict.RETURNED


async def test_setup_runs_behind_the_wall(tmp_path, secret):
    source = f"def setup():\n    return open({secret!r}).read()\ndef run(job): ...\n"
    (tmp_path / "hooked.py").write_text(source)
    async with pen("hooked:run", folder=tmp_path, level=Level.RESTRICTED) as p:
        child = await p.child()
        (exit_,) = p.heard[child].exits
        assert exit_.reason is Verdict.IMPORT_FAILED
        assert "--allow-read" in exit_.remedy


async def test_an_allowed_path_that_is_not_there_refuses_the_start(tmp_path):
    allow = Allow(read=(str(tmp_path / "typo"),))
    with pytest.raises(SandboxUnavailable, match="typo, which is not there"):
        await Zygote.start(spec_of(WALLED, level=Level.RESTRICTED, allow=allow), Pen())


async def test_an_import_that_fails_is_still_told_as_such(tmp_path):
    with pytest.raises(ProcessorImportError):
        await Zygote.start(spec_of("no_such:f", folder=tmp_path, level=Level.RESTRICTED), Pen())


async def test_a_child_that_cannot_be_set_up_never_runs_a_job():
    """Its work directory is gone: the first was made ahead, the second cannot be made at all."""
    async with behind_the_wall() as p:
        child = await p.child()
        work = Path(json.loads((await p.run("surroundings", child=child)).value)["cwd"])
        shutil.rmtree(work.parent)
        for words in ('at step "working directory"', "No such file or directory"):
            (exit_,) = p.heard[await p.child()].exits
            assert exit_.reason is Verdict.UNAVAILABLE
            assert words in exit_.message
            assert exit_.ran == 0
