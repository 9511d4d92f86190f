"""Zygotes that crash, hang or fall silent, and imports that fail."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import signal
import time

import pytest

from tests.process.harness import GOOD, HOSTILE, Pen, fds_after, is_alive, open_fds, pen, spec_of
from tests.process.processors.imports import write_module
from toril.call import Verdict
from toril.errors import ProcessorImportError, SandboxUnavailable
from toril.sandbox import home
from toril.sandbox.launch import launch
from toril.sandbox.launcher import Zygote


async def refused(tmp_path, source: str, **changes) -> SandboxUnavailable:
    path = write_module(tmp_path, "under_test", source)
    with pytest.raises(SandboxUnavailable) as caught:
        await Zygote.start(spec_of(path, folder=tmp_path, **changes), Pen())
    return caught.value


@pytest.mark.parametrize(
    ("source", "says", "tail"),
    [
        ("import os\nos._exit(3)\n", "it exited with code 3", ""),
        (
            "import ctypes\ndef read():\n    ctypes.string_at(0)\nread()\n",
            "it was ended by SIGSEGV",
            "in read",
        ),
        (
            "import sys, os\nsys.stderr.write('no licence\\n')\nos._exit(1)\n",
            "code 1",
            "no licence",
        ),
    ],
)
async def test_import_that_ends_the_process_names_the_processor(tmp_path, source, says, tail):
    error = await refused(tmp_path, source)

    assert isinstance(error, ProcessorImportError)
    assert error.reason.startswith("importing processor 'under_test:process' ended the process: ")
    assert says in error.reason
    assert tail in error.traceback
    assert "toril/sandbox" not in error.traceback


async def test_import_that_hangs_is_ended_and_says_where(tmp_path):
    source = "import time\ndef connect():\n    time.sleep(60)\nconnect()\n"
    begun = time.monotonic()
    error = await refused(tmp_path, source, preload_s=0.5)

    assert error.reason == "importing processor 'under_test:process' took more than 0.5 s"
    assert "in connect" in error.traceback
    assert time.monotonic() - begun < 5


async def test_zygote_that_is_stopped_while_it_preloads_is_killed(tmp_path):
    source = "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n"
    error = await refused(tmp_path, source, preload_s=0.3)

    assert "took more than 0.3 s" in error.reason


@pytest.mark.parametrize(
    ("source", "is_hinted"),
    [
        ("raise RuntimeError('no key configured')\n", True),
        ("1 +\n", False),
        ("undefined_name\n", False),
    ],
)
async def test_failed_import_hints_at_the_clean_environment(
    tmp_path, monkeypatch, source, is_hinted
):
    monkeypatch.setenv("SOME_API_KEY", "secret")
    error = await refused(tmp_path, source)

    assert ("children get a clean environment, --env NAME" in error.remedy) == is_hinted
    assert "secret" not in str(error)


async def test_failed_import_does_not_hint_when_nothing_was_hidden(tmp_path, monkeypatch):
    for name in os.environ.keys() - {"PATH", "HOME", "SHELL", "PYTEST_CURRENT_TEST"}:
        monkeypatch.delenv(name)
    error = await refused(
        tmp_path, "raise RuntimeError('no')\n", env_names=("PYTEST_CURRENT_TEST",)
    )

    assert error.remedy == "Mend the module, then start again"


async def test_traceback_of_an_import_has_no_frames_of_ours(tmp_path):
    """Not even between two modules that import each other."""
    (tmp_path / "library.py").write_text("def fail():\n    raise LookupError('gone')\nfail()\n")
    error = await refused(tmp_path, "import library\n")

    assert "in fail" in error.traceback
    assert 'under_test.py", line' in error.traceback
    assert "watched" not in error.traceback
    assert "importlib" not in error.traceback


async def test_processor_without_a_parameter_is_refused_at_the_start(tmp_path):
    (tmp_path / "takes_none.py").write_text("def h():\n    pass\n")
    with pytest.raises(ProcessorImportError, match="cannot be called with one argument, the job"):
        await Zygote.start(spec_of("takes_none:h", folder=tmp_path), Pen())


async def started(processor: str) -> Pen:
    made = Pen()
    made.zygote = await Zygote.start(spec_of(processor), made)
    return made


async def test_stopped_zygote_that_owes_a_child_is_replaced(monkeypatch):
    monkeypatch.setattr(home, "FORK_S", 0.2)
    made = await started(GOOD)
    busy = made.begin(await made.child(), "loop")
    os.kill(made.zygote.pid, signal.SIGSTOP)
    asked = made.zygote.fork(2)
    await made.until(lambda: made.zygote_ends)

    assert made.zygote_ends == ["did not answer a fork request within 0.2 s, killed"]
    assert made.heard[busy].outcomes[0].verdict is Verdict.LOST
    assert [len(made.heard[child].exits) for child in (busy, asked)] == [1, 1]
    assert not is_alive(made.zygote.pid)
    await made.zygote.stop()


async def test_stopped_zygote_that_owes_a_report_is_replaced(monkeypatch):
    monkeypatch.setattr(home, "REPORT_S", 0.2)
    made = await started(HOSTILE)
    child = await made.child()
    os.kill(made.zygote.pid, signal.SIGSTOP)
    made.begin(child, "kill_itself")
    await made.until(lambda: made.zygote_ends)

    assert made.zygote_ends == ["did not answer with a dead child's report within 0.2 s, killed"]
    assert len(made.heard[child].outcomes) == len(made.heard[child].exits) == 1
    await made.zygote.stop()


async def test_child_that_is_not_ready_in_time_is_killed_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(home, "READY_S", 0.3)
    path = write_module(tmp_path, "slow", "import time\ndef setup():\n    time.sleep(60)\n")
    async with pen(path, folder=tmp_path) as p:
        end = await p.gone(await p.child())

    assert (end.reason, end.expected) == (Verdict.UNAVAILABLE, False)
    assert "not ready within 0.3 s, its import and setup() included" in end.message
    assert p.zygote_ends == []


async def test_child_that_closed_its_descriptors_says_that_it_lost_its_socket():
    async with pen(HOSTILE) as p:
        child = await p.child()
        outcome = await p.run("close_everything", child=child)

    assert outcome.verdict is Verdict.EXITED
    assert outcome.message.startswith("lost its socket to the supervisor")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("segfault", None, "died of SIGSEGV"),
        ("exit_with", 0, "exited with code 0 without a result"),
        ("break_rule", "nan", "broke the frame protocol: result is not JSON: "),
        ("close_socket", None, "closed its socket to the supervisor without a result"),
        ("close_everything", None, "lost its socket to the supervisor, exited with code 113"),
        ("spin_in_c", None, "timed out after "),
    ],
)
async def test_message_reads_as_the_end_of_a_sentence(name, data, message):
    """It follows "job 5 failed: ", and stands between brackets after "crashed 3 times"."""
    async with pen(HOSTILE, timeout_s=1.0, grace_s=0.1) as p:
        outcome = await p.run(name, data)

    assert outcome.message.startswith(message)


async def test_message_of_a_lost_job_has_one_subject():
    made = await started(HOSTILE)
    child = await made.begin_and_hear("ignore_everything")
    os.kill(made.zygote.pid, signal.SIGKILL)
    outcome = await made.finish(child)
    await made.until(lambda: made.zygote_ends)

    assert outcome.message == "lost: its zygote died"


async def test_prints_of_an_import_that_fails_are_heard(tmp_path):
    made = Pen()
    path = write_module(tmp_path, "talks", "print('loading')\n1 / 0\n")
    with pytest.raises(ProcessorImportError):
        await Zygote.start(spec_of(path, folder=tmp_path), made)
    await asyncio.sleep(0)

    assert made.zygote_log == [("stdout", "loading")]


async def test_zygote_that_dies_with_its_first_word_is_no_zygote():
    """Its end may be told before anybody holds it: nobody would start another one then."""
    made = Pen()
    made.zygote = Zygote(spec := spec_of(GOOD, import_in="child"), made, launch(spec))
    begun = asyncio.ensure_future(made.zygote.preload())
    await asyncio.sleep(0)
    channel = made.zygote._channel
    select.select([channel], [], [], 30)  # The loop waits: it hears of word and end together.
    os.kill(made.zygote.pid, signal.SIGKILL)
    os.waitid(os.P_PID, made.zygote.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - on purpose

    with pytest.raises(SandboxUnavailable, match="ended by SIGKILL before it was ready"):
        await begun


async def test_zygote_that_cannot_be_watched_is_refused_and_gone(monkeypatch):
    begun = []

    def no_descriptor(pid):
        begun.append(pid)
        raise OSError(errno.EMFILE, "Too many open files")

    fds = open_fds()
    monkeypatch.setattr(os, "pidfd_open", no_descriptor)
    with pytest.raises(SandboxUnavailable, match="Too many open files"):
        await Zygote.start(spec_of(GOOD), Pen())

    assert [pid for pid in begun if is_alive(pid)] == []
    assert {fd.split()[0] for fd in await fds_after(fds)} <= {fd.split()[0] for fd in fds}
