"""As root every walled child is a user of its own, and what it may use is bounded."""

# ruff: noqa: ASYNC240 - a look at /proc does not block

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.harness import ROOT, pen
from tests.process.test_strict import APART, folder  # noqa: F401 - a fixture
from tests.support.hidden import USERS, behind
from toril.call import Verdict
from toril.errors import SandboxUnavailable
from toril.sandbox import cgroup
from toril.sandbox.allow import Allow
from toril.sandbox.cgroup import Home, Power
from toril.sandbox.levels import Level
from toril.sandbox.limits import PROCESSES
from toril.sandbox.users import BASES

MIB = 1024 * 1024
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def restricted(folder, **changes):  # noqa: F811
    return pen(
        APART,
        **({"level": Level.RESTRICTED, "folder": folder, "working_directory": folder} | changes),
    )


@needs_root
async def test_children_of_root_are_users_that_nobody_else_is(folder):  # noqa: F811
    async with restricted(folder) as p:
        children = [await p.child(), await p.child()]
        seen = [json.loads((await p.run("look", child=one)).value) for one in children]
        owners = {Path(one["here"]).stat().st_uid for one in seen}

    uids = {one["uid"] for one in seen}
    assert owners == uids
    assert len(uids) == 2
    assert all(BASES[0] <= uid < BASES[0] + 4096 for uid in uids)
    assert [one["groups"] for one in seen] == [[], []]


@needs_root
async def test_range_of_users_can_be_named_and_waived(folder):  # noqa: F811
    async with restricted(folder, child_uid=1_999_500_000) as p:
        seen = json.loads((await p.run("look")).value)
    async with restricted(folder, waive=("uid",)) as p:
        as_root = json.loads((await p.run("look")).value)

    assert 1_999_500_000 <= seen["uid"] < 1_999_504_096
    assert as_root["uid"] == 0


@needs_root
async def test_folder_that_children_cannot_reach_is_refused_at_the_start(folder):  # noqa: F811
    folder.chmod(0o700)
    with pytest.raises(SandboxUnavailable, match=r"no access to .*chmod o\+rx.*/srv.*--waive uid"):
        async with restricted(folder):
            pass


@needs_root
async def test_fork_bomb_of_an_own_user_is_bounded_and_leaves_nothing(folder):  # noqa: F811
    async with restricted(folder, allow=Allow(exec=True)) as p:
        child = await p.child()
        outcome = await p.run("bomb", child=child)
        uid = Path(f"/proc/{child.pid}").stat().st_uid
        child.retire()
        await p.gone(child)
        left = [
            entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and owned(entry, uid)
        ]

    why, count = json.loads(outcome.value)
    assert why == "Resource temporarily unavailable"
    assert count < PROCESSES
    assert left == []


def owned(entry: Path, uid: int) -> bool:
    try:
        return entry.stat().st_uid == uid
    except FileNotFoundError:
        return False


@needs_root
async def test_group_without_limits_ends_a_tree_at_once(folder, monkeypatch):  # noqa: F811
    """What a job started is gone with it, whatever it did to get away."""
    home = cgroup.settle_in("/sys/fs/cgroup/unified")
    if home is None:
        pytest.skip("needs a version 2 control group at /sys/fs/cgroup/unified that can be killed")
    monkeypatch.setattr(cgroup._Process, "home", Home(home.directory, Power.KILL))
    async with restricted(folder, allow=Allow(exec=True)) as p:
        child = await p.child()
        groups = Path(f"/proc/{child.pid}/cgroup").read_text()
        await p.run("bomb", child=child)
        child.retire()
        await p.gone(child)
    directory = Path(home.directory)
    inside = f"0::/toril/slot-{p.zygote.pid}-1"

    assert inside in groups
    assert not (directory / f"slot-{p.zygote.pid}-1").exists()
    cgroup.leave()
    assert not directory.exists()


@pytest.mark.parametrize("data", ["named", "nameless"])
async def test_work_directory_over_its_limit_ends_the_job(folder, data):  # noqa: F811
    async with restricted(folder, allow=Allow(tmp_size_bytes=4 * MIB)) as p:
        child = await p.child()
        outcome = await p.run("fill_slowly", data, child=child)
        end = await p.gone(child)

    assert outcome.verdict is Verdict.OVER_DISK
    assert outcome.message.startswith("over the limit of its work directory: at least ")
    assert outcome.message.endswith(" (limit 4 MiB), killed")
    assert (end.signal, end.expected) == (9, False)


async def test_files_without_end_are_counted_although_they_are_empty(folder):  # noqa: F811
    async with restricted(folder, allow=Allow(tmp_size_bytes=8 * MIB), timeout_s=20) as p:
        outcome = await p.run("many_files")

    assert outcome.verdict is Verdict.OVER_DISK


@needs_root
def test_host_on_which_root_cannot_become_others_is_refused_by_name(folder):  # noqa: F811
    done = subprocess.run(
        behind(USERS, [sys.executable, "-m", "tests.process.begin", "restricted", str(folder)]),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )

    assert "uid: root cannot become another user: PermissionError" in done.stdout, done.stderr
    assert "--waive uid" in done.stdout
