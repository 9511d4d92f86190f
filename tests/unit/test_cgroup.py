"""Where our control group is and what is written into it; the tree of files is a made-up one."""

from __future__ import annotations

import pytest

from toril.sandbox import cgroup
from toril.sandbox.cgroup import Home, Power, Slot
from toril.sandbox.limits import Limits

MIB = 1024 * 1024
MOUNT = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw"
HYBRID = "36 24 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate"
V1 = "37 24 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
INNER = r"35 24 0:30 /docker/a\040b /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw"


@pytest.mark.parametrize(
    ("groups", "mounts", "found"),
    [
        ("0::/system.slice/toril.service\n", MOUNT, "/sys/fs/cgroup/system.slice/toril.service"),
        ("0::/\n", MOUNT, "/sys/fs/cgroup"),
        ("8:memory:/x\n0::/\n", f"{V1}\n{HYBRID}", "/sys/fs/cgroup/unified"),
        ("0::/docker/a b/toril\n", INNER, "/sys/fs/cgroup/toril"),
        ("0::/docker/elsewhere\n", INNER, None),
        ("8:memory:/x\n", V1, None),
        ("0::/\n", V1, None),
    ],
)
def test_own_group_is_found(groups, mounts, found):
    assert cgroup.own_directory(groups, mounts) == found


def test_systemds_subgroup_is_not_the_group_to_arrange():
    assert cgroup.base_of("/sys/fs/cgroup/a.service/supervisor") == "/sys/fs/cgroup/a.service"
    assert cgroup.base_of("/sys/fs/cgroup/a.service") == "/sys/fs/cgroup/a.service"


def test_processes_move_before_controllers_are_turned_on():
    """A group that holds processes may not have controllers below it (EBUSY)."""
    assert cgroup.writes("/g", [7, 9]) == [
        ("/g/supervisor/cgroup.procs", "7"),
        ("/g/supervisor/cgroup.procs", "9"),
        ("/g/cgroup.subtree_control", "+memory +pids"),
        ("/g/jobs/cgroup.subtree_control", "+memory +pids"),
    ]


@pytest.fixture
def group(tmp_path):
    """A directory with the files that a delegated group has."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("")
    (tmp_path / "cgroup.procs").write_text("")
    for name in ("supervisor", "jobs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").write_text("")
        (tmp_path / name / "cgroup.subtree_control").write_text("")
    return tmp_path


def test_delegated_group_is_arranged(group):
    home = cgroup.settle_in(str(group))

    assert home == Home(str(group / "jobs"), Power.LIMITS)
    assert (group / "cgroup.subtree_control").read_text() == "+memory +pids"
    assert (group / "jobs" / "cgroup.subtree_control").read_text() == "+memory +pids"


def test_group_with_strangers_in_it_is_left_alone(group, monkeypatch):
    """A root shell's session is not ours to rearrange, though the kernel would let us."""
    (group / "cgroup.procs").write_text("1\n")
    monkeypatch.setattr("os.geteuid", lambda: 0)

    assert cgroup.settle_in(str(group)) is None
    assert (group / "cgroup.subtree_control").read_text() == ""


def test_group_without_controllers_can_at_most_kill(group):
    (group / "cgroup.controllers").write_text("hugetlb\n")
    (group / "toril").mkdir()
    (group / "toril" / "cgroup.kill").write_text("")

    assert cgroup.settle_in(str(group)) == Home(str(group / "toril"), Power.KILL)


def test_groups_of_dead_zygotes_are_removed_and_others_kept(group):
    for name in ("slot-999999999-1", "slot-1-1", "other"):
        (group / "jobs" / name).mkdir()

    cgroup.settle_in(str(group))

    left = {path.name for path in (group / "jobs").iterdir() if path.is_dir()}
    assert left == {"slot-1-1", "other"}


def test_limits_of_a_child():
    assert cgroup.limits_of(Limits(memory_bytes=100 * MIB), 64, 10 * MIB) == {
        "memory.max": str((125 + 16 + 10) * MIB),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": "64",
    }
    assert cgroup.limits_of(Limits(memory_bytes=None), 64, 0) == {"pids.max": "64"}


@pytest.fixture
def slot(tmp_path):
    """A slot whose directory has the files of a real one."""
    made = Slot(Home(str(tmp_path), Power.LIMITS), 1)
    made.prepare({})
    directory = next(tmp_path.iterdir())
    for name in ("memory.max", "memory.oom.group", "pids.max", "cgroup.kill", "cgroup.procs"):
        (directory / name).write_text("")
    (directory / "memory.events").write_text("oom 3\noom_kill 2\n")
    return made, directory


def test_slot_gets_its_limits_where_there_is_no_swap_accounting(slot):
    made, directory = slot

    made.prepare(cgroup.limits_of(Limits(memory_bytes=MIB), 64, 0))

    assert (directory / "pids.max").read_text() == "64"
    assert (directory / "memory.oom.group").read_text() == "1"


def test_slot_without_a_limit_that_must_be_there_is_refused(slot):
    made, directory = slot
    (directory / "pids.max").unlink()

    with pytest.raises(FileNotFoundError):
        made.prepare({"pids.max": "64"})


def test_memory_kills_of_earlier_children_do_not_count(slot):
    made, directory = slot
    made.prepare({})
    before = made.was_out_of_memory()

    (directory / "memory.events").write_text("oom 4\noom_kill 3\n")

    assert (before, made.was_out_of_memory()) == (False, True)


def test_slot_is_killed_and_entered_by_its_files(slot):
    made, directory = slot

    made.kill()
    cgroup.join(made.entrance)

    assert (directory / "cgroup.kill").read_text() == "1"
    assert (directory / "cgroup.procs").read_text() == "0"
