"""What the sandbox asks of the kernel about processes: prctl, /proc, CPU clocks.

Imported on both sides of the wall, so it imports nothing but the standard library.
"""

# ruff: noqa: PTH123, PTH208 - no pathlib where children are made

from __future__ import annotations

import ctypes
import os
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}, {value}): {os.strerror(number)}")


def die_with_parent(parent_pid: int, signal_number: int) -> None:
    """Get a signal when the parent's forking thread ends; leave at once if it already has.

    Source: PR_SET_PDEATHSIG in prctl(2); set it after every uid change, which clears it.
    """
    _prctl(_PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent_pid:
        os._exit(os.EX_UNAVAILABLE)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends (PR_SET_CHILD_SUBREAPER)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_dumpable(*, dumpable: bool) -> None:
    """Open or close /proc/self/{environ,mem,fd} and ptrace to other processes of this user."""
    _prctl(_PR_SET_DUMPABLE, int(dumpable))


def thread_count() -> int:
    """Threads of this process, those of C libraries included."""
    return len(os.listdir("/proc/self/task"))


def data_bytes() -> int:
    """VmData of this process: what RLIMIT_DATA is compared with."""
    with open("/proc/self/status", "rb", buffering=0) as status:
        for line in status.read().splitlines():
            if line.startswith(b"VmData:"):
                return int(line.split()[1]) * 1024
    return 0


def cpu_ms(pid: int) -> float | None:
    """User and system time of a living process, ms; None when it is gone.

    Source: clock_getcpuclockid(3): a process's CPU clock has the id `(~pid << 3) | 2`.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2) * 1000
    except OSError:
        return None


def child_pids(parent_pid: int) -> list[int]:
    """Pids whose parent is `parent_pid`, zombies included, from a scan of /proc.

    Source: proc_pid_stat(5); the name in field 2 may hold blanks and brackets.
    """
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb", buffering=0) as stat:
                    fields = stat.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent_pid:
                found.append(int(entry))
    return found
