"""What killed supervisors leave of work directories is removed, and nothing else."""

# ruff: noqa: PTH119, PTH208 - names are compared

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.process.harness import GOOD, ROOT, is_alive, pen
from tests.support.waiting import until
from toril.sandbox import work_roots
from toril.sandbox.levels import Level


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_what_nobody_holds_is_removed_and_what_somebody_holds_is_not(temporary):
    old = temporary / "toril-work-old"
    deep = old / "1"
    deep.mkdir(parents=True)
    (deep / "left").write_text("x")
    held, lock = work_roots.make()
    other = temporary / "toril-worker"
    other.mkdir()

    assert work_roots.sweep() == [str(old)]
    assert sorted(os.listdir(temporary)) == sorted([os.path.basename(held), "toril-worker"])
    os.close(lock)


def test_links_are_not_followed(temporary):
    target = temporary / "target"
    target.mkdir()
    (target / "kept").write_text("x")
    (temporary / "toril-work-link").symlink_to(target)

    assert work_roots.sweep() == []
    assert (target / "kept").exists()


def test_tree_deeper_than_any_path_is_removed(temporary):
    old = temporary / "toril-work-deep"
    old.mkdir()
    above = os.open(old, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=above)
        below = os.open("d", os.O_RDONLY, dir_fd=above)
        os.close(above)
        above = below
    os.close(above)

    assert work_roots.sweep() == [str(old)]
    assert not old.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another user's directory")
def test_what_belongs_to_others_stays(temporary):
    foreign = temporary / "toril-work-foreign"
    foreign.mkdir()
    os.chown(foreign, 65_534, 65_534)

    assert work_roots.sweep() == []


async def test_running_zygote_keeps_its_own(temporary):
    async with pen(GOOD, level=Level.RESTRICTED, waive=("cgroup",)) as p:
        assert work_roots.sweep() == []
        await p.run("echo", 1)

    assert os.listdir(temporary) == []


def test_killed_supervisor_leaves_nothing(temporary):
    """Its zygote hears of it, and tidies up after both."""
    code = f"""
import asyncio, os
from tests.process.harness import GOOD, pen
from toril.sandbox.levels import Level
async def main():
    async with pen(GOOD, level=Level.RESTRICTED, waive=("cgroup",)) as p:
        await p.run("echo", 1)
        print(p.zygote.pid, flush=True)
        os.kill(os.getpid(), {int(signal.SIGKILL)})
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        check=False,
    )
    until(lambda: not is_alive(int(done.stdout)))

    assert os.listdir(temporary) == []
