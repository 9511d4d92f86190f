"""Hosts that forbid something, as system call filters: a container's, or one that hides a part.

`python -m tests.hostile.filters NAME MODULE [ARGUMENT …]` runs a module behind one of them.

`docker` is what Docker's default profile denies to a container without added capabilities, on
x86-64 and a kernel from 4.8 on: the complement of its allowed names, written as names of ours, with
its three rules about arguments. It is built by our own assembler, so that no library is needed;
what it cannot say, it leaves out: 32-bit calls, which the profile allows.
Source: Docker's documentation of its default seccomp profile, as of 2026.
"""

from __future__ import annotations

import errno
import os
import runpy
import sys
from dataclasses import replace

from toril.sandbox import landlock, seccomp, syscalls
from toril.sandbox.policy import Policy, Rule

_MORE_NUMBERS = {
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
    "seccomp": 317,
    "_sysctl": 156,
    "nfsservctl": 180,
    "sysfs": 139,
    "ustat": 136,
    "get_mempolicy": 239,
    "mbind": 237,
    "set_mempolicy": 238,
    "set_mempolicy_home_node": 450,
}
"""Calls of x86-64 that our own policy has no need to name."""

_CLONE_NAMESPACES = 0x7E020000
_AF_VSOCK = 40
_PR_SET_SECCOMP = 22

_DOCKER_DENIES = (
    "_sysctl acct add_key bpf clock_settime delete_module fanotify_init finit_module fsconfig "
    "fsmount fsopen fspick get_mempolicy init_module io_uring_enter io_uring_register "
    "io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl listmount lookup_dcookie "
    "mbind migrate_pages mount mount_setattr move_mount move_pages nfsservctl open_by_handle_at "
    "open_tree perf_event_open pidfd_getfd pivot_root process_madvise quotactl quotactl_fd reboot "
    "request_key set_mempolicy set_mempolicy_home_node setdomainname sethostname setns "
    "settimeofday statmount swapoff swapon sysfs syslog umount2 unshare uselib userfaultfd ustat "
    "vhangup"
)

_LANDLOCK = "landlock_create_ruleset landlock_add_rule landlock_restrict_self"
_PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)


def _denying(names: str, error: int, *rules: Rule) -> Policy:
    return Policy(dict.fromkeys(names.split(), error), rules)


FILTERS = {
    "docker": Policy(
        {**dict.fromkeys(_DOCKER_DENIES.split(), errno.EPERM), "clone3": errno.ENOSYS},
        (
            Rule("clone", 0, (0,), is_allowed=True, mask=_CLONE_NAMESPACES),
            Rule("socket", 0, (_AF_VSOCK,), is_allowed=False),
            Rule("personality", 0, _PERSONALITIES, is_allowed=True),
        ),
    ),
    "landlock-unknown": _denying(_LANDLOCK, errno.ENOSYS),
    "landlock-off": _denying(_LANDLOCK, errno.EOPNOTSUPP),
    "landlock-denied": _denying(_LANDLOCK, errno.EPERM),
    "seccomp-unknown": _denying(
        "seccomp", errno.ENOSYS, Rule("prctl", 0, (_PR_SET_SECCOMP,), False, errno.EINVAL)
    ),
    "namespaces-denied": _denying(
        "unshare clone3",
        errno.EPERM,
        Rule("clone", 0, (0,), is_allowed=True, mask=_CLONE_NAMESPACES),
    ),
    "namespaces-none-left": _denying("unshare", errno.ENOSPC),
    "mounts-denied": _denying("mount", errno.EACCES),
    "pivot-denied": _denying("pivot_root", errno.EPERM),
}
"""Name → what is denied. That mounts are denied after `unshare` has worked is how a distribution's
AppArmor profile keeps ordinary users from namespaces."""


_X86_64 = syscalls.ARCHITECTURES["x86_64"]
MACHINE = replace(_X86_64, numbers={**_X86_64.numbers, **_MORE_NUMBERS})


def install(name: str) -> None:
    """Put this process, and whatever it starts, behind a filter; root needs no promise for it."""
    if os.getuid() != 0:
        landlock.forgo_privileges()
    seccomp.install(seccomp.compile_policy(FILTERS[name], MACHINE))


if __name__ == "__main__":
    chosen, module, *sys.argv[1:] = sys.argv[1:]
    install(chosen)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
