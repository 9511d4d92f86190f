"""Which system calls a child of level `restricted` up may make: tables, pure.

A list of what is denied, not of what is allowed: ordinary libraries run unchanged, and what the
kernel adds later is unknown here and refused as not existing. Landlock decides about files; what
stands here is what it cannot see: signals and settings of other processes, sockets, modes and
owners of files, whole interfaces of the kernel that no processor needs. Denied calls fail, they do
not kill: libraries fall back, processors get an `OSError`.

Source: seccomp(2); kernel headers up to 6.17 for the names. Re-read with every kernel release.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toril.sandbox.allow import Allow

EPERM, EACCES, ENOSYS = errno.EPERM, errno.EACCES, errno.ENOSYS

SELF = None
"""In a rule's values: the pid of the child itself."""

_LOW_WORD = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Rule:
    """What is asked of one argument of one call; the low 32 bits are what the kernel looks at.

    Attributes:
        call: its name.
        argument: which, from 0.
        values: with `is_allowed` the only ones that pass, without it those that do not.
        is_allowed: see `values`.
        error: errno of a call that does not pass.
        mask: bits of the argument that are compared.
    """

    call: str
    argument: int
    values: tuple[int | None, ...]
    is_allowed: bool
    error: int = EPERM
    mask: int = _LOW_WORD


@dataclass(frozen=True, slots=True)
class Policy:
    """One filter, as data.

    Attributes:
        denied: call → errno.
        rules: all of a call's rules have to pass.
    """

    denied: dict[str, int]
    rules: tuple[Rule, ...]


ALWAYS_DENIED: dict[str, tuple[int, str]] = {
    "look into, signal or steer another process": (
        EPERM,
        (
            "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp "
            "pidfd_open pidfd_getfd pidfd_send_signal tkill rt_sigqueueinfo rt_tgsigqueueinfo "
            "get_robust_list move_pages migrate_pages"
        ),
    ),
    "new namespaces and roots": (EPERM, "unshare setns chroot pivot_root"),
    "mounts": (
        EPERM,
        (
            "mount umount2 move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick "
            "mount_setattr statmount listmount swapon swapoff quotactl quotactl_fd"
        ),
    ),
    "modes, owners, times and attributes of files, which Landlock does not see": (
        EPERM,
        (
            "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat "
            "utimensat setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr "
            "fremovexattr removexattrat file_setattr"
        ),
    ),
    "files by handle, watches on files": (
        EPERM,
        (
            "name_to_handle_at open_by_handle_at fanotify_init fanotify_mark inotify_init "
            "inotify_init1 inotify_add_watch"
        ),
    ),
    "memory that no limit of one process counts, and programs made of it": (
        EPERM,
        (
            "memfd_create memfd_secret shmget shmat shmctl shmdt semget semop semtimedop semctl "
            "msgget msgsnd msgrcv msgctl mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify "
            "mq_getsetattr"
        ),
    ),
    "interfaces of the kernel with a history": (
        EPERM,
        (
            "bpf perf_event_open userfaultfd add_key request_key keyctl modify_ldt uselib "
            "lookup_dcookie vmsplice"
        ),
    ),
    "system calls that no filter sees": (ENOSYS, "io_uring_setup io_uring_enter io_uring_register"),
    "the machine": (
        EPERM,
        (
            "reboot kexec_load kexec_file_load init_module finit_module delete_module acct syslog "
            "settimeofday clock_settime adjtimex clock_adjtime sethostname setdomainname iopl "
            "ioperm vhangup"
        ),
    ),
    "flags in memory, where no filter reads them; libraries then use clone and openat": (
        ENOSYS,
        "clone3 openat2",
    ),
}
"""What it is for → errno and names."""

NETWORK_CALLS = "connect bind listen accept accept4"
EXEC_CALLS = "execve execveat fork vfork"
_WITHOUT_TRUNCATE = (EPERM, "truncate")

_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_SOCK_STREAM, _SOCK_DGRAM, _SOCK_SEQPACKET, _SOCK_TYPES = 1, 2, 5, 0xF
_CLONE_THREAD, _CLONE_PARENT = 0x00010000, 0x00008000
_CLONE_NAMESPACES = 0x7E020000
_PRIO_PROCESS, _IOPRIO_WHO_PROCESS = 0, 1
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX, _F_SETLEASE, _F_NOTIFY = 8, 10, 15, 1024, 1026
_TIOCSTI, _TIOCLINUX, _TIOCSCTTY = 0x5412, 0x541C, 0x540E
_FIOSETOWN, _SIOCSPGRP = 0x8901, 0x8902
_FS_IOC_SETFLAGS, _FS_IOC32_SETFLAGS, _FS_IOC_FSSETXATTR = 0x40086602, 0x40046602, 0x401C5820
_FS_IOC_ENABLE_VERITY, _FS_IOC_SET_ENCRYPTION_POLICY = 0x40806685, 0x800C6613
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SCHED_CORE = 1, 4, 36, 62
_PERSONALITY_ASK = 0xFFFFFFFF
_O_ACCMODE_AND_TRUNC, _O_RDONLY_TRUNC = 0o1003, 0o1000
_SET_USER_OR_GROUP_ID = 0o6000

_OWN_ONLY = (0, SELF)

_ALWAYS_RULES = (
    Rule("tgkill", 0, (SELF,), is_allowed=True),
    Rule("prlimit64", 0, _OWN_ONLY, is_allowed=True),
    Rule("setpriority", 0, (_PRIO_PROCESS,), is_allowed=True),
    Rule("setpriority", 1, _OWN_ONLY, is_allowed=True),
    Rule("ioprio_set", 0, (_IOPRIO_WHO_PROCESS,), is_allowed=True),
    Rule("ioprio_set", 1, _OWN_ONLY, is_allowed=True),
    Rule("sched_setaffinity", 0, _OWN_ONLY, is_allowed=True),
    Rule("sched_setscheduler", 0, _OWN_ONLY, is_allowed=True),
    Rule("sched_setparam", 0, _OWN_ONLY, is_allowed=True),
    Rule("sched_setattr", 0, _OWN_ONLY, is_allowed=True),
    # SIGIO to whoever is named as the owner is a kill in disguise; who opens a leased file waits.
    Rule(
        "fcntl",
        1,
        (_F_SETOWN, _F_SETSIG, _F_SETOWN_EX, _F_SETLEASE, _F_NOTIFY),
        is_allowed=False,
    ),
    Rule(
        "ioctl",
        1,
        (
            *(_TIOCSTI, _TIOCLINUX, _TIOCSCTTY, _FIOSETOWN, _SIOCSPGRP),
            *(_FS_IOC_SETFLAGS, _FS_IOC32_SETFLAGS, _FS_IOC_FSSETXATTR),
            *(_FS_IOC_ENABLE_VERITY, _FS_IOC_SET_ENCRYPTION_POLICY),
        ),
        is_allowed=False,
    ),
    # It dies with its zygote, and its supervisor can always measure it.
    Rule(
        "prctl",
        0,
        (_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SCHED_CORE),
        is_allowed=False,
    ),
    # A file that runs as its owner waits for an accomplice. Without O_CREAT libraries pass 0.
    Rule("creat", 1, (0,), is_allowed=True, mask=_SET_USER_OR_GROUP_ID),
    Rule("open", 2, (0,), is_allowed=True, mask=_SET_USER_OR_GROUP_ID),
    Rule("openat", 3, (0,), is_allowed=True, mask=_SET_USER_OR_GROUP_ID),
    Rule("mknod", 1, (0,), is_allowed=True, mask=_SET_USER_OR_GROUP_ID),
    Rule("mknodat", 2, (0,), is_allowed=True, mask=_SET_USER_OR_GROUP_ID),
    Rule("personality", 0, (0, _PERSONALITY_ASK), is_allowed=True),
    Rule("clone", 0, (0,), is_allowed=True, mask=_CLONE_NAMESPACES | _CLONE_PARENT),
    # asyncio's self-pipe is a pair of streams. A datagram socket could be sent from to any address.
    Rule("socketpair", 0, (_AF_UNIX,), is_allowed=True),
    Rule("socketpair", 1, (_SOCK_STREAM, _SOCK_SEQPACKET), is_allowed=True, mask=_SOCK_TYPES),
)


def restricted(allow: Allow, *, has_scopes: bool, has_truncate: bool) -> Policy:
    """The policy of one queue's children.

    Args:
        allow: what is let through.
        has_scopes: Landlock keeps signals inside the child's own domain (ABI 6).
        has_truncate: Landlock decides about truncation (ABI 3).
    """
    denied = {
        name: error for error, names in _groups(allow, has_truncate) for name in names.split()
    }
    rules = list(_ALWAYS_RULES)
    rules += _network_rules(allow)
    if not allow.exec:
        rules.append(Rule("clone", 0, (_CLONE_THREAD,), is_allowed=True, mask=_CLONE_THREAD))
    if not (allow.exec and has_scopes):
        # With processes of its own to end, a child needs `kill`; the domain bounds it then.
        rules.append(Rule("kill", 0, (SELF,), is_allowed=True))
    if not has_truncate:
        rules += _truncate_rules()
    return Policy(denied, tuple(rules))


def _groups(allow: Allow, has_truncate: bool) -> Iterator[tuple[int, str]]:  # noqa: FBT001
    yield from ALWAYS_DENIED.values()
    if not allow.exec:
        yield EPERM, EXEC_CALLS
    if not allow.network:
        yield EPERM, NETWORK_CALLS
    if not has_truncate:
        yield _WITHOUT_TRUNCATE


def _network_rules(allow: Allow) -> list[Rule]:
    """Not even with a network a socket by path or abstract name: a local Redis may listen there."""
    if not allow.network:
        return [Rule("socket", 0, (), is_allowed=True, error=EACCES)]
    return [
        Rule("socket", 0, (_AF_INET, _AF_INET6), is_allowed=True, error=EACCES),
        Rule("socket", 1, (_SOCK_STREAM, _SOCK_DGRAM), True, EACCES, _SOCK_TYPES),
    ]


def _truncate_rules() -> list[Rule]:
    """Opening for reading must not empty a file where Landlock does not look at it."""
    return [
        Rule("open", 1, (_O_RDONLY_TRUNC,), is_allowed=False, mask=_O_ACCMODE_AND_TRUNC),
        Rule("openat", 2, (_O_RDONLY_TRUNC,), is_allowed=False, mask=_O_ACCMODE_AND_TRUNC),
    ]
