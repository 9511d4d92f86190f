"""Invariants 1, 2, 8, 10 and 15: what stands between job code and everything else."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.invariants.stage import OURS, QUEUE, ended, progress, run
from tests.process.harness import is_alive
from tests.support.hidden import LANDLOCK, behind
from tests.support.imports import closure, sources
from tests.support.tied import tied
from tests.support.toril import ROOT, UNWALLED
from tests.support.waiting import until
from toril import Queue

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "the-password-of-redis"


def toril(
    *words: str, folder: Path = ROOT, hidden: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "toril", "run", *words]
    return subprocess.run(
        tied(behind(hidden, command) if hidden else command),
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


def test_invariant_01_no_job_code_in_the_supervisor_and_no_redis_in_a_child(private_server):
    """Where root runs this, it reads more than a user could: the environment of the supervisor."""
    server = private_server(options=("--requirepass", SECRET))
    url = server.url.replace("unix://", f"unix://:{SECRET}@")
    flags = ("--queue", QUEUE, "--processor", OURS, "--concurrency", "1", "--until-empty")
    flags += UNWALLED  # What no wall keeps from it is not there to be found.
    with Queue(QUEUE, redis=url) as queue:
        job = queue.add("look-around", {})
        done = toril(*flags, TORIL_REDIS_URL=url, REDIS_PASSWORD=SECRET)
        assert done.returncode == 0, done.stderr
        found = queue.get_job(job.id).returnvalue

    assert found["imported_in"] == found["family"]["zygote"]
    assert len(set(found["family"].values())) == 3
    assert SECRET not in json.dumps(found)
    assert SECRET not in done.stderr
    assert [name for name in found["variables"] if name.startswith(("TORIL_", "REDIS_"))] == []
    assert {name.split(".")[0] for name in found["modules"]}.isdisjoint({"redis", "hiredis"})
    assert [fd for fd, target in found["fds"].items() if target.startswith("socket:")] == ["3", "6"]
    assert "toril.sandbox.processor" not in closure(["toril.supervisor.supervisor"])

    refused = toril(*flags, "--redis", f"redis://:{SECRET}@localhost")
    assert (refused.returncode, SECRET in refused.stderr) == (os.EX_CONFIG, False)


def test_invariant_02_only_a_zygote_with_one_thread_forks(redis_url, tmp_path):
    (tmp_path / "threaded.py").write_text(
        "import threading\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "def process(job): pass\n"
    )
    forking = re.compile(r"os\.fork|forkpty\(|preexec_fn|import multiprocessing")
    found = {name for name, path in sources().items() if forking.search(path.read_text())}
    tries = {"toril.sandbox.throwaway", "toril.sandbox.trial"}  # In a zygote, before its children.
    assert found == {"toril.sandbox.zygote", "toril.sandbox.birth", *tries}
    assert closure(["toril.supervisor.supervisor", "toril.cli.main"]).isdisjoint(found)

    words = ("--queue", QUEUE, "--processor", "threaded:process", "--redis", redis_url)
    done = toril(*words, folder=tmp_path)
    assert done.returncode == os.EX_CONFIG
    assert "thread" in done.stderr
    assert "threaded" in done.stderr


@pytest.mark.parametrize("killed", ["child", "zygote", "supervisor"])
def test_invariant_08_no_child_outlives_its_supervisor_and_no_grandchild_its_child(
    redis_url, killed
):
    """A grandchild in a session of its own, and each of its ancestors killed without warning."""
    with Queue(QUEUE, redis=redis_url) as queue, run(redis_url) as toril:
        job = queue.add("leave-daemon", {"seconds": 60})
        family = progress(queue, toril, job)
        family["supervisor"] = toril.process.pid
        assert all(is_alive(pid) for pid in family.values())
        os.kill(family[killed], signal.SIGKILL)
        below = ["daemon", "child", "zygote"][: ["child", "zygote", "supervisor"].index(killed) + 1]
        gone = [name for name in below if name != killed]
        until(lambda: not any(is_alive(family[name]) for name in gone), 10)


def test_invariant_10_a_broken_frame_kills_the_child_and_nothing_is_unpickled(redis_url):
    with Queue(QUEUE, redis=redis_url) as queue, run(redis_url, "--on-crash", "fail") as toril:
        forger = queue.add("forge", {})
        failed = ended(queue, toril, forger)
        sound = queue.add("look-around", {})
        assert sound.wait(timeout="20s")["family"]["supervisor"] == toril.process.pid
    assert (failed.state(), failed.verdict) == ("failed", "broke-protocol")

    loaders = {"pickle", "marshal", "shelve", "dill", "yaml"}
    assert closure(["toril.supervisor.supervisor"]).isdisjoint(loaders)


@pytest.mark.parametrize("level", ["restricted", "strict"])
def test_invariant_15_a_level_that_cannot_be_enforced_refuses_to_start(redis_url, level):
    """Nothing is claimed under less than was asked for; the refusal names the remedy."""
    with Queue(QUEUE, redis=redis_url) as queue:
        job = queue.add("look-around", {})
        words = ("--queue", QUEUE, "--processor", OURS, "--redis", redis_url, "--level", level)
        done = toril(*words, hidden=LANDLOCK)
        assert done.returncode == os.EX_CONFIG
        assert level in done.stderr
        assert "landlock: kernel" in done.stderr
        assert "process" in done.stderr
        assert queue.get_job(job.id).attempts_started == 0
