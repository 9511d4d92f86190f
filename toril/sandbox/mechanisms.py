"""What a level is made of on this host: looked at by effect, never by version numbers.

Each mechanism is tried in a process that is thrown away afterwards. `require` refuses a level that
lacks one, unless the operator has waived it; `toril doctor` shows the whole table.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toril.errors import SandboxUnavailable
from toril.sandbox import (
    birth,
    bpf,
    cgroup,
    landlock,
    levels,
    namespaces,
    private_root,
    seccomp,
    syscalls,
    users,
)
from toril.sandbox.throwaway import tried

if TYPE_CHECKING:
    from collections.abc import Callable

    from toril.sandbox.levels import Level

_GETPPID = {"x86_64": 110, "aarch64": 173}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at one mechanism found.

    Attributes:
        is_there: it works here.
        detail: which version of it, or what is in the way.
        remedy: what to do if it is missing.
    """

    is_there: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One thing that a level needs of the kernel.

    Attributes:
        name: what a waiver calls it.
        what: what it is for.
        levels: which need it.
        look: tries it; may fork, never changes this process.
    """

    name: str
    what: str
    levels: frozenset[Level]
    look: Callable[[], Finding]


def require(level: Level, waived: frozenset[str]) -> frozenset[str]:
    """What is missing here and waived; users of their own are then not used, if they could be.

    Raises:
        SandboxUnavailable: something is missing that is not waived.
    """
    findings = {one.name: one.look() for one in MECHANISMS if level in one.levels}
    missing = {name: found for name, found in findings.items() if not found.is_there}
    refused = {name: found for name, found in missing.items() if name not in waived}
    if refused:
        raise refusal(level, refused)
    declined = {"uid"} & waived if os.geteuid() == 0 else set()
    return frozenset(missing) | declined


def refusal(level: Level, missing: dict[str, Finding]) -> SandboxUnavailable:
    """The refusal that names what is missing, and every way out."""
    what = "; ".join(f"{name}: {found.detail}" for name, found in missing.items())
    remedies = [found.remedy for found in missing.values() if found.remedy]
    remedies.append(
        'Or use level = "process" (--level process), which guards against crashes, leaks and '
        "loops but not against hostile code"
    )
    return SandboxUnavailable(
        f'level "{level.value}" cannot be enforced on this host: {what}',
        ". ".join(remedies),
        level=level.value,
        missing=tuple(missing),
    )


def _look_for_landlock() -> Finding:
    abi = landlock.abi()
    if abi == 0:
        return Finding(
            is_there=False,
            detail=f"kernel {platform.release()} has no Landlock, or it is switched off",
            remedy="Use a kernel from 5.13 on with `landlock` in its list of security modules "
            "(boot parameter lsm=landlock,…; /sys/kernel/security/lsm shows the list). In a "
            "container its system call filter has to let landlock_* through",
        )
    if words := tried(_enter_a_domain):
        return Finding(
            is_there=False,
            detail=f"Landlock ABI {abi} is there and does not work: {words}",
            remedy="See what forbids landlock_* here: a container's system call filter, or 16 "
            "domains that are nested already",
        )
    newer = "" if abi >= landlock.ABI_OF_SCOPES else "; the filter covers what it lacks"
    return Finding(is_there=True, detail=f"Landlock ABI {abi}{newer}")


def _enter_a_domain() -> str:
    """A domain without any rule: nothing can be opened in it."""
    rights = landlock.Rights.of(landlock.abi(), has_network=False)
    landlock.forgo_privileges()
    landlock.restrict(landlock.make_ruleset(rights, ()))
    try:
        os.close(os.open("/", os.O_RDONLY))
    except PermissionError:
        return ""
    return "a forbidden directory could be opened"


def _look_for_seccomp() -> Finding:
    machine = os.uname().machine
    if machine not in syscalls.ARCHITECTURES:
        known = ", ".join(syscalls.ARCHITECTURES)
        return Finding(
            is_there=False,
            detail=f"no table of system calls for {machine}; there are tables for {known}",
        )
    if words := tried(_filter_one_call):
        return Finding(
            is_there=False,
            detail=f"system call filters do not work: {words}",
            remedy="Use a kernel with CONFIG_SECCOMP_FILTER, and let prctl(PR_SET_SECCOMP) through "
            "in the container's own filter",
        )
    return Finding(is_there=True, detail=f"system call filters, table for {machine}")


def _filter_one_call() -> str:
    """A filter that refuses one harmless call."""
    number = _GETPPID[os.uname().machine]
    landlock.forgo_privileges()
    seccomp.install(
        bpf.assemble(
            [
                bpf.load(0),
                bpf.jump_equal(number, 0, 1),
                bpf.end(seccomp.ERRNO | errno.EPERM),
                bpf.end(seccomp.ALLOW),
            ]
        )
    )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number) == -1 and ctypes.get_errno() == errno.EPERM:
        return ""
    return "a forbidden call was answered"


def _look_for_namespaces() -> Finding:
    if words := tried(_live_apart):
        return Finding(
            is_there=False,
            detail=f"namespaces cannot be made and mounted in: {words}",
            remedy=birth.NAMESPACES_REMEDY,
        )
    return Finding(is_there=True, detail="user, mount, pid, net, ipc and uts namespaces")


def _live_apart() -> str:
    """What a child of level strict does, with an empty root; AppArmor stops it only there."""
    namespaces.unshare_all()
    return tried(_move_out)


def _move_out() -> str:
    private_root.enter((), "/job", 1 << 20)
    return "the host's files are still there" if os.access(os.__file__, os.F_OK) else ""


def _look_for_cgroup() -> Finding:
    is_there, detail = cgroup.look()
    return Finding(
        is_there=is_there,
        detail=detail,
        remedy=""
        if is_there
        else "Delegate a group with memory and pids: Delegate=memory pids in the systemd unit, "
        "--security-opt writable-cgroups=true for Docker 28, --security-opt "
        "unmask=/sys/fs/cgroup for Podman; or accept in writing that memory is limited by a "
        "watchdog only: --waive cgroup",
    )


def _look_for_users() -> Finding:
    if os.geteuid() != 0:
        return Finding(is_there=True, detail="not root: children share this ordinary user")
    try:
        base = users.base_of(None)
    except SandboxUnavailable as refusal:
        return Finding(is_there=False, detail=refusal.reason, remedy=refusal.remedy)
    if words := tried(lambda: _change_to(base)):
        return Finding(
            is_there=False,
            detail=f"root cannot become another user: {words}",
            remedy="Give it CAP_SETUID and CAP_SETGID, start it as an ordinary user, or let "
            "children be root in writing: --waive uid",
        )
    return Finding(is_there=True, detail=f"each child a user of its own, from {base} on")


def _change_to(uid: int) -> str:
    users.become(uid)
    return "" if os.getresuid() == (uid, uid, uid) else "it is still root"


_KINDS: dict[str, tuple[str, Callable[[], Finding]]] = {
    "landlock": ("files and TCP that were not allowed cannot be reached", _look_for_landlock),
    "seccomp": (
        "other processes, sockets, programs and risky parts of the kernel cannot be reached",
        _look_for_seccomp,
    ),
    "uid": ("as root, each child is a user that nobody else is", _look_for_users),
    "namespaces": (
        "a child sees no process, network, or file of the host but what it may read",
        _look_for_namespaces,
    ),
    "cgroup": (
        "all memory and every process of a child count against its limits",
        _look_for_cgroup,
    ),
}

MECHANISMS = tuple(
    Mechanism(name, what, levels.MECHANISMS[name], look) for name, (what, look) in _KINDS.items()
)
"""Every mechanism there is."""
