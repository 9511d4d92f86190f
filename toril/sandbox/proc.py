"""What the sandbox asks of the kernel about processes: prctl, /proc, CPU clocks.

Imported on both sides of the wall, so it imports nothing but the standard library.
"""

# ruff: noqa: PTH123, PTH208 - no pathlib where children are made

from __future__ import annotations

import ctypes
import os
import resource
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATUS_BYTES = 64 * 1024
"""Of /proc/PID/status at most; chosen: a user in a thousand groups makes it some 10 KiB."""

_OWN_BYTES = frozenset((b"RssAnon:", b"RssShmem:"))
_OWN = (*_OWN_BYTES, b"Threads:")

# Bound before any code of a job runs.
_fstat, _write, _monotonic = os.fstat, os.write, time.monotonic
_getrusage, _SELF = resource.getrusage, resource.RUSAGE_SELF

_libc_prctl = ctypes.CDLL(None, use_errno=True).prctl
_libc_prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


def _prctl(option: int, value: int) -> None:
    if _libc_prctl(option, value, 0, 0, 0) != 0:
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
    status = os.open("/proc/self/status", os.O_RDONLY)
    found = os.read(status, _STATUS_BYTES).partition(b"\nVmData:")[2]
    os.close(status)
    return int(found.split(maxsplit=1)[0]) * 1024


def cpu_ms(pid: int) -> float | None:
    """User and system time of a living process, ms; None when it is gone.

    Source: clock_getcpuclockid(3): a process's CPU clock has the id `(~pid << 3) | 2`.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2) * 1000
    except OSError:
        return None


def open_sizes(pid: int) -> int | None:
    """A descriptor for `rss_bytes`, to be closed by the caller; None when the process is gone.

    Keeping it makes a look at the size ten times cheaper, and a number that the kernel gives to
    another process later cannot be mistaken for this one.
    """
    try:
        return os.open(f"/proc/{pid}/statm", os.O_RDONLY)
    except OSError:
        return None


def rss_bytes(sizes_fd: int) -> int | None:
    """Resident size of a living process, shared mappings included; None when it is gone.

    Source: proc_pid_statm(5), second field; kernels before 6.2 may be some pages behind.
    """
    try:
        return int(os.pread(sizes_fd, 128, 0).split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return None


def open_status(pid: int) -> int | None:
    """A descriptor for `own_bytes_and_threads`, closed by the caller; None: the process is gone."""
    try:
        return os.open(f"/proc/{pid}/status", os.O_RDONLY)
    except OSError:
        return None


def own_bytes_and_threads(status_fd: int) -> tuple[int, int] | None:
    """What a living process takes for itself; None when it is gone.

    The first is its resident size without the files that it maps. Memory that processes share
    (shm, memfd, tmpfs) counts: unlike a file's pages, the kernel cannot drop it.

    Source: RssAnon, RssShmem and Threads in proc_pid_status(5), kernel 4.5.
    """
    try:
        status = os.pread(status_fd, _STATUS_BYTES, 0)
    except OSError:
        return None
    found = dict(line.split()[:2] for line in status.splitlines() if line.startswith(_OWN))
    if not _OWN_BYTES & found.keys():
        return None
    own = sum(int(size) for name, size in found.items() if name in _OWN_BYTES)
    return own * 1024, int(found[b"Threads:"])


def open_peak() -> int:
    """A descriptor for `Peak`; where that is not built it is one that cannot be written to.

    Source: proc_pid_clear_refs(5).
    """
    try:
        return os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


_PEAK_WINDOW_S = 0.05
"""Attempts that begin within it and need no more than the child had count from its first one;
chosen: to forget costs more than a short job, and growth is what a peak is looked at for."""


class Peak:
    """The largest resident size of this process, measured anew for every attempt.

    Source: getrusage(2) reports the same counter as VmHWM, without the cost of /proc/self/status.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._identity = self._look()
        self._until_s = 0.0
        self._floor = self._highest = -1

    def begin(self) -> None:
        """Count from the size of now, or of a moment ago if nothing has been above it since."""
        now_s = _monotonic()
        if self._highest == self._floor and now_s < self._until_s:
            return
        self._until_s = now_s + _PEAK_WINDOW_S
        self._floor = _max_rss_kib() if self._forget() else 0

    def end_bytes(self) -> int:
        """The peak since then, bytes; 0 where it cannot be counted."""
        self._highest = _max_rss_kib() if self._floor else 0
        return self._highest * 1024

    def _forget(self) -> bool:
        """False where that is not built, or the descriptor is another file's by now.

        Source: 5 in proc_pid_clear_refs(5), kernel 4.0.
        """
        try:
            return self._look() == self._identity and _write(self._fd, b"5") == 1
        except OSError:
            return False

    def _look(self) -> tuple[int, int]:
        found = _fstat(self._fd)
        return found.st_dev, found.st_ino


def _max_rss_kib() -> int:
    return _getrusage(_SELF).ru_maxrss


def catches(pid: int, signal_number: int) -> bool:
    """Whether a process has a handler for a signal; False when it is gone.

    Source: SigCgt in proc_pid_status(5).
    """
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as status:
            for line in status.read().splitlines():
                if line.startswith(b"SigCgt:"):
                    return bool(int(line.split()[1], 16) >> (signal_number - 1) & 1)
    except OSError:
        return False
    return False


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
