"""Starting a zygote, what it refuses, and how it ends."""

# ruff: noqa: PTH116 - names in /proc

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from tests.process.harness import GOOD, HOSTILE, Pen, fds_after, is_alive, open_fds, pen, spec_of
from tests.process.processors.imports import write_module
from toril.call import Verdict
from toril.errors import InvalidOption, ProcessorImportError, SandboxUnavailable
from toril.sandbox.launcher import Zygote

LATER = 'import = "child"'


async def refused(tmp_path, source: str) -> SandboxUnavailable:
    path = write_module(tmp_path, "under_test", source)
    with pytest.raises(SandboxUnavailable) as caught:
        await Zygote.start(spec_of(path, folder=tmp_path), Pen())
    return caught.value


def test_everything_works_on_the_loop_of_asyncio_too():
    async def go():
        async with pen(GOOD) as p:
            child = await p.child()
            outcomes = [
                await p.run("echo", "x" * 300_000, child=child),
                await p.run("refuse", child=child),
                await p.run("talk", 1, child=child),
            ]
            looping = await p.begin_and_hear("loop")
            looping.interrupt(Verdict.INTERRUPTED)
            outcomes.append(await p.finish(looping))
            return [outcome.verdict for outcome in outcomes]

    verdicts = asyncio.run(go())

    assert verdicts == [Verdict.RETURNED, Verdict.RAISED, Verdict.RETURNED, Verdict.INTERRUPTED]


@pytest.mark.parametrize(
    ("processor", "reason"),
    [
        ("tests.process.processors.good", "not of the form module:attribute"),
        ("tests.process.processors.absent:process", "ModuleNotFoundError"),
        ("tests.process.processors.good:ekho", "no attribute 'ekho' (did you mean 'echo'?)"),
        ("tests.process.processors.hostile:DATA_FD", "is of type int"),
    ],
)
async def test_processor_that_cannot_be_found_is_refused_at_the_start(processor, reason):
    with pytest.raises(ProcessorImportError) as caught:
        await Zygote.start(spec_of(processor), Pen())

    assert reason in str(caught.value)
    assert caught.value.remedy


async def test_import_that_raises_is_told_with_its_traceback(tmp_path):
    error = await refused(tmp_path, "import sys\ndef helper():\n    sys.exit('no')\nhelper()\n")

    assert isinstance(error, ProcessorImportError)
    assert "SystemExit: no" in error.reason
    assert "in helper" in error.traceback
    assert "toril/sandbox" not in error.traceback


async def test_import_that_misses_a_variable_names_the_setting(tmp_path):
    error = await refused(tmp_path, "import os\nos.environ['IMAGE_BUCKET']\n")

    assert "--env IMAGE_BUCKET" in error.remedy


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import socket\nkept = socket.socket()\n", "a socket open"),
        ("import os\nkept = os.pipe()\n", "a pipe open"),
        ("import select\nkept = select.epoll()\n", "a kernel object open"),
        ("kept = open('written.txt', 'w')\n", "a file for writing open"),
    ],
)
async def test_import_that_leaves_something_open_is_refused(tmp_path, monkeypatch, source, what):
    monkeypatch.chdir(tmp_path)
    error = await refused(tmp_path, f"import os\nos.chdir({str(tmp_path)!r})\n{source}")

    assert what in error.reason
    assert LATER in error.remedy


async def test_writable_file_is_named(tmp_path):
    target = tmp_path / "written.txt"
    error = await refused(tmp_path, f"kept = open({str(target)!r}, 'w')\n")

    assert str(target) in error.reason


async def test_thread_that_an_import_starts_is_refused_and_its_module_named(tmp_path):
    (tmp_path / "busy_library.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    error = await refused(tmp_path, "import busy_library\n")

    assert "importing busy_library (for under_test) started the other" in error.reason
    assert "2 threads" in error.reason
    assert LATER in error.remedy
    assert "later version" not in error.remedy


async def test_thread_of_the_processor_module_itself_names_that_module(tmp_path):
    source = (
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    error = await refused(tmp_path, source)

    assert "importing under_test started the other" in error.reason
    assert "threading" not in error.reason


@pytest.mark.parametrize("statement", ["from pack import inner", "import pack.inner"])
async def test_thread_of_a_module_in_a_package_names_it_in_full(tmp_path, statement):
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("from . import deep\n")
    (package / "deep.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    error = await refused(tmp_path, f"{statement}\n")

    assert "importing pack.deep (for under_test)" in error.reason


async def test_thread_that_starts_later_stops_the_forks(tmp_path):
    path = write_module(
        tmp_path,
        "late",
        """
        import os, threading
        def linger():
            threading.Event().wait()
        def start():
            threading.Thread(target=linger, daemon=True).start()
        os.register_at_fork(after_in_parent=start)
        """,
    )
    made = Pen()
    made.zygote = await Zygote.start(spec_of(path, folder=tmp_path), made)
    first = await made.child(1)
    second = await made.child(2)
    end = await made.gone(second)
    outcome = await made.run("x", child=first)
    await made.zygote.stop()

    assert outcome.value == b'"ran"'
    assert (end.reason, end.pid) == (Verdict.UNAVAILABLE, None)
    assert "late" in end.message


async def test_read_only_file_of_a_module_stays_open_in_every_child(tmp_path):
    (tmp_path / "words.txt").write_text("one\ntwo\n")
    (tmp_path / "reader.py").write_text(
        f"import os\nwords = open({str(tmp_path / 'words.txt')!r}, buffering=1)\n"
        "def process(job):\n    return os.read(words.fileno(), 4).decode()\n"
    )
    async with pen("reader:process", folder=tmp_path) as p:
        read = [(await p.run("x")).value for _ in range(2)]

    assert read == [b'"one\\n"', b'"one\\n"']


async def test_words_of_an_import_are_log_lines_of_the_queue_and_said_once(tmp_path, capfd):
    source = "import sys\nprint('imported', end='')\nprint('loud', file=sys.stderr)\n"
    path = write_module(tmp_path, "greets", source)
    async with pen(path, folder=tmp_path) as p:
        before_the_first_child = list(p.zygote_log)
        await p.run("x")
        await p.run("x")
        said = capfd.readouterr()

    assert sorted(before_the_first_child) == [("stderr", "loud"), ("stdout", "imported")]
    assert p.zygote_log == before_the_first_child
    assert (said.out, said.err) == ("", "")


@pytest.mark.parametrize("name", ["TORIL_REDIS_URL", "REDIS_PASSWORD"])
async def test_variable_that_may_hold_a_secret_is_refused(name):
    with pytest.raises(InvalidOption, match=name):
        await Zygote.start(spec_of(GOOD, env_names=(name,)), Pen())


def test_zygote_is_started_from_the_main_thread_only():
    """The kernel ends it with the thread that started it."""
    caught = []

    def elsewhere():
        try:
            asyncio.run(Zygote.start(spec_of(GOOD), Pen()))
        except SandboxUnavailable as error:
            caught.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()

    assert "main thread" in caught[0]


async def test_zygote_is_closed_to_other_processes_of_its_user():
    async with pen(GOOD) as p:
        owner = os.stat(f"/proc/{p.zygote.pid}/environ").st_uid
        child = await p.child()
        dumpable = os.stat(f"/proc/{child.pid}/environ").st_uid

    assert owner == 0
    assert dumpable == os.getuid()


async def test_stop_ends_everything_and_leaves_no_descriptor():
    made = Pen()
    made.zygote = await Zygote.start(spec_of(HOSTILE, grace_s=60), made)
    await made.child()
    await made.zygote.stop()
    await asyncio.sleep(0.05)  # No event tells when the loop has closed what it holds of the first.
    before = open_fds()
    made.zygote = await Zygote.start(spec_of(HOSTILE, grace_s=60), made)
    busy = await made.begin_and_hear("ignore_everything")
    idle = await made.child()
    asked = made.zygote.fork(3)
    await made.zygote.stop()
    after = await fds_after(before)

    assert made.heard[busy].outcomes[0].verdict is Verdict.INTERRUPTED
    assert all(made.heard[child].exits[0].expected for child in (busy, idle, asked))
    assert not is_alive(busy.pid)
    assert not is_alive(made.zygote.pid)
    assert made.zygote_ends == []
    assert after == before
    with pytest.raises(SandboxUnavailable):
        made.zygote.fork(1)


async def test_killed_zygote_takes_its_children_along_and_their_jobs_are_lost():
    made = Pen()
    made.zygote = await Zygote.start(spec_of(HOSTILE), made)
    busy = await made.begin_and_hear("ignore_everything")
    idle = await made.child()

    os.kill(made.zygote.pid, signal.SIGKILL)
    await made.until(lambda: made.zygote_ends)

    assert made.heard[busy].outcomes[0].verdict is Verdict.LOST
    assert [len(made.heard[child].exits) for child in (busy, idle)] == [1, 1]
    assert made.heard[busy].exits[0].is_orphan
    assert made.heard[idle].exits[0].is_orphan
    assert made.zygote_ends == ["was ended by SIGKILL"]
    assert not is_alive(busy.pid)
    assert not is_alive(idle.pid)
    assert made.zygote.children == []
    await made.zygote.stop()


async def test_result_that_was_sent_before_its_zygote_died_counts():
    made = Pen()
    made.zygote = await Zygote.start(spec_of(HOSTILE), made)
    child = made.begin(await made.child(), "result_then_exit", 1000)
    while is_alive(child.pid):
        os.sched_yield()  # The loop must hear of both at once.
    os.kill(made.zygote.pid, signal.SIGKILL)
    await made.until(lambda: made.zygote_ends)

    assert made.heard[child].outcomes[0].verdict is Verdict.RETURNED
