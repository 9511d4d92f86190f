"""Control groups (version 2): where ours is, how children get one each, what one is told to allow.

Three cases. *Limits*: the group is delegated to us with memory and pids; then it is rearranged
once, and each child's own group bounds it completely. *Kill*: a version 2 mount without those
controllers; a group still ends a whole tree at once. *None*: rlimits, watchdog and sweep have to
do. A change must keep: a group that is not clearly ours is left as it is, processes of others are
never moved.
"""

# ruff: noqa: PTH102, PTH103, PTH106, PTH110, PTH118, PTH119, PTH120, PTH123, PTH208 - no pathlib where children are made

from __future__ import annotations

import enum
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from toril.sandbox.limits import Limits

_CONTROLLERS = ("memory", "pids")
_SUPERVISOR = "supervisor"
_JOBS = "jobs"

MEMORY_HEADROOM = 1.25
"""Memory a group may use over `memory_bytes`; given by the watchdog, for the same reason: the
MemoryError that a job can handle comes first."""

_KERNEL_BYTES = 16 * 1024 * 1024
"""On top of it; chosen: page tables, socket buffers and the cached files of one child."""

_DELEGATED = ("user.delegate", "trusted.delegate")
"""Extended attributes that systemd sets on a group which it has delegated.

Source: systemd's docs/CGROUP_DELEGATION.md."""


class Power(enum.Enum):
    """What can be done with groups here."""

    LIMITS = "memory and pids"
    KILL = "kill only"


@dataclass(frozen=True, slots=True)
class Home:
    """Where the groups of children are made, and what they can do."""

    directory: str
    power: Power

    def as_message(self) -> list[str]:
        """JSON values, for the zygote."""
        return [self.directory, self.power.value]


def home_of(message: list[str] | None) -> Home | None:
    """What `Home.as_message` made."""
    return None if message is None else Home(message[0], Power(message[1]))


def own_directory(cgroup_text: str, mountinfo_text: str) -> str | None:
    """The directory of this process's version 2 group; None without one.

    Args:
        cgroup_text: /proc/self/cgroup.
        mountinfo_text: /proc/self/mountinfo.

    Source: cgroups(7), proc_pid_mountinfo(5).
    """
    group = next((line[3:] for line in cgroup_text.splitlines() if line.startswith("0::")), None)
    if group is None:
        return None
    for line in mountinfo_text.splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.split(" ")[0] == "cgroup2":
            root, place = (_unescaped(field) for field in fields.split(" ")[3:5])
            if group == root or group.startswith(root.rstrip("/") + "/"):
                below = group[len(root.rstrip("/")) :].strip("/")
                return os.path.join(place, below) if below else place
    return None


def base_of(directory: str) -> str:
    """The group to arrange: systemd's DelegateSubgroup= puts a service one below it."""
    is_sub = os.path.basename(directory) == _SUPERVISOR
    return os.path.dirname(directory) if is_sub else directory


def writes(base: str, pids: Iterable[int]) -> list[tuple[str, str]]:
    """(file, text) in order: what turns a delegated group into one that has children's groups.

    No group but a leaf may hold processes once controllers are on below it, so they move first.

    Source: "No Internal Process Constraint", the kernel's admin-guide/cgroup-v2.rst.
    """
    on = " ".join(f"+{name}" for name in _CONTROLLERS)
    return [
        *((f"{base}/{_SUPERVISOR}/cgroup.procs", str(pid)) for pid in pids),
        (f"{base}/cgroup.subtree_control", on),
        (f"{base}/{_JOBS}/cgroup.subtree_control", on),
    ]


class _Process:
    """What is true of this whole process."""

    home: Home | None = None


def settle() -> None:
    """Find our group, and arrange it where it is ours: children get groups from now on.

    To be called once in a supervisor, before it starts anything.
    """
    with suppress(OSError):
        directory = own_directory(_read("/proc/self/cgroup"), _read("/proc/self/mountinfo"))
        if directory is not None:
            _Process.home = settle_in(base_of(directory))


def settled() -> Home | None:
    """Where children's groups are made; None without `settle`, or where it found no place."""
    return _Process.home


def leave() -> None:
    """Remove the place of children's groups if nobody else uses it."""
    if _Process.home is not None:
        with suppress(OSError):
            os.rmdir(_Process.home.directory)
        _Process.home = None


def look() -> tuple[bool, str]:
    """Whether children can have groups with limits here, and what there is; changes nothing."""
    try:
        directory = own_directory(_read("/proc/self/cgroup"), _read("/proc/self/mountinfo"))
        if directory is None:
            return False, "no version 2 control group is mounted"
        base = base_of(directory)
        here = " ".join(_read(f"{base}/cgroup.controllers").split()) or "none"
        if not _has_limits(base):
            return False, f"memory and pids are not among the controllers of {base}: {here}"
        if not _is_ours(base):
            return False, f"{base} is not delegated to this process"
    except OSError as error:
        return False, f"the control group cannot be looked at: {error}"
    return True, f"{base} is delegated, with {here}"


def settle_in(base: str) -> Home | None:
    """`settle` for a known group; where children's groups can be made."""
    if _has_limits(base) and _is_ours(base):
        with suppress(OSError):
            return _arranged(base)
    return _kill_only(base)


def _arranged(base: str) -> Home:
    jobs = f"{base}/{_JOBS}"
    for directory in (f"{base}/{_SUPERVISOR}", jobs):
        os.makedirs(directory, exist_ok=True)
    for path, text in writes(base, _pids(base)):
        _write(path, text)
    _sweep_old(jobs)
    return Home(jobs, Power.LIMITS)


def _kill_only(base: str) -> Home | None:
    """A place for groups without limits, if one can be made and killed."""
    directory = f"{base}/toril"
    try:
        os.makedirs(directory, exist_ok=True)
        _sweep_old(directory)
        if os.access(f"{directory}/cgroup.kill", os.W_OK):
            return Home(directory, Power.KILL)
        os.rmdir(directory)
    except OSError:
        return None
    return None


def _has_limits(base: str) -> bool:
    try:
        return set(_CONTROLLERS) <= set(_read(f"{base}/cgroup.controllers").split())
    except OSError:
        return False


def _is_ours(base: str) -> bool:
    """Whether we may rearrange a group: it was delegated, or nobody but us is in it."""
    if not os.access(f"{base}/cgroup.subtree_control", os.W_OK):
        return False
    for name in _DELEGATED:
        with suppress(OSError):
            if os.getxattr(base, name) == b"1":
                return True
    return os.geteuid() != 0 or _pids(base) <= {os.getpid()}


def _pids(directory: str) -> set[int]:
    return {int(pid) for pid in _read(f"{directory}/cgroup.procs").split()}


def _sweep_old(directory: str) -> None:
    """Remove groups whose zygote is gone: it was killed and could not tidy up."""
    for name in os.listdir(directory):
        owner = name.removeprefix("slot-").partition("-")[0]
        if owner.isdecimal() and not os.path.exists(f"/proc/{owner}"):
            with suppress(OSError):
                os.rmdir(f"{directory}/{name}")


def limits_of(limits: Limits, processes: int, tmp_bytes: int) -> dict[str, str]:
    """File → text of one child's group.

    Args:
        limits: what the child may use.
        processes: its processes and threads.
        tmp_bytes: what it may keep in a work directory that is memory; 0 when that is a disk's.
    """
    wanted = {"pids.max": str(processes)}
    if limits.memory_bytes is not None:
        most = round(limits.memory_bytes * MEMORY_HEADROOM) + _KERNEL_BYTES + tmp_bytes
        wanted |= {"memory.max": str(most), "memory.swap.max": "0", "memory.oom.group": "1"}
    return wanted


class Slot:
    """One child's group; it serves one child after another."""

    def __init__(self, home: Home, number: int) -> None:
        self._directory = f"{home.directory}/slot-{os.getpid()}-{number}"
        self._has_limits = home.power is Power.LIMITS
        self._kills_before = 0

    @property
    def entrance(self) -> str:
        """The file into which a child writes 0 to be in it."""
        return f"{self._directory}/cgroup.procs"

    def prepare(self, wanted: dict[str, str]) -> None:
        """Make it ready for the next child.

        Raises:
            OSError: a group cannot be made, or a limit not set.
        """
        with suppress(FileExistsError):
            os.mkdir(self._directory, 0o755)
        if self._has_limits:
            for name, text in wanted.items():
                # Where the kernel has no swap accounting the file is not there, and not needed.
                with suppress(*([FileNotFoundError] if name == "memory.swap.max" else [])):
                    _write(f"{self._directory}/{name}", text)
            self._kills_before = self._oom_kills()

    def kill(self) -> None:
        """End every process in it."""
        with suppress(OSError):
            _write(f"{self._directory}/cgroup.kill", "1")

    def was_out_of_memory(self) -> bool:
        """Whether the kernel has killed its child for its memory."""
        return self._has_limits and self._oom_kills() > self._kills_before

    def remove(self) -> None:
        """It is not needed any more; what is still in it keeps it."""
        with suppress(OSError):
            os.rmdir(self._directory)

    def _oom_kills(self) -> int:
        with suppress(OSError):
            for line in _read(f"{self._directory}/memory.events").splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0


def join(entrance: str) -> None:
    """Move this process into a group; nothing without one.

    Raises:
        OSError: the kernel does not allow it.
    """
    if entrance:
        _write(entrance, "0")


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _unescaped(field: str) -> str:
    """A path of mountinfo, in which blanks are written as octal numbers."""
    return field.encode("utf-8", "surrogateescape").decode("unicode_escape")
