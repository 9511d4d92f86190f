"""Namespaces of a `strict` child: thin calls into the kernel.

What is mounted in them is `private_root`'s. A change must keep: ids are read before `unshare`
(afterwards they are the overflow id and no map can be written), and the map holds this one user and
group only, so that nobody else exists inside.
"""

# ruff: noqa: PTH123 - no pathlib where children are made

from __future__ import annotations

import ctypes
import os

from toril.sandbox import proc

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWIPC = 0x08000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000
_ALL = _CLONE_NEWNS | _CLONE_NEWUTS | _CLONE_NEWIPC | _CLONE_NEWUSER | _CLONE_NEWPID | _CLONE_NEWNET

GATE_OPEN = b"o"

_HOST_NAME = b"child"

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> int:
    """Call a function of the C library that returns -1 and sets errno.

    Raises:
        OSError: it did.
    """
    found = int(getattr(_libc, name)(*arguments))
    if found == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return found


def unshare_all() -> None:
    """Enter new user, mount, pid, net, ipc and uts namespaces; the next fork is pid 1 in them.

    This process must have one thread. It holds every capability inside afterwards, none outside.

    Raises:
        OSError: the kernel, its settings or a seccomp filter do not allow it.

    Source: user_namespaces(7), pid_namespaces(7).
    """
    uid, gid = os.geteuid(), os.getegid()
    # /proc/self belongs to root as long as a process is not dumpable.
    proc.set_dumpable(dumpable=True)
    call("unshare", ctypes.c_int(_ALL))
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {uid} 1")
    _write("/proc/self/gid_map", f"{gid} {gid} 1")
    call("sethostname", _HOST_NAME, len(_HOST_NAME))


def wait_at_gate(gate_fd: int) -> None:
    """In a child: wait until the zygote has adopted it; end with the zygote if it does not."""
    if os.read(gate_fd, 1) != GATE_OPEN:
        os._exit(os.EX_UNAVAILABLE)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
