"""Attacks on the kernel's wider surface: programs, namespaces, mounts, keys, clocks, odd entries.

Arguments are such that a call which gets through to the kernel does no harm, even as root: it fails
with EFAULT, EINVAL or EBADF, which is not among the answers of a wall.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
from functools import partial

from tests.hostile.attacks.steps import all_met, attack, met, syscall

BAD = 0x1  # An address that no process has.
X32 = 0x40000000
SIGNAL_BITS = 0xFF  # What of clone's flags is the signal at the end.
PR_SET_MM, PR_SET_DUMPABLE, PR_SCHED_CORE, READ_IMPLIES_EXEC = 35, 4, 62, 0x0400000
NAMESPACES = {
    "user": 0x10000000,
    "mount": 0x00020000,
    "pid": 0x20000000,
    "net": 0x40000000,
    "ipc": 0x08000000,
    "uts": 0x04000000,
    "cgroup": 0x02000000,
    "time": 0x00000080,
}


@attack
def run_programs(job):
    """Every way into another program (row 18)."""
    true = "/bin/true"

    def from_memory():
        fd = os.memfd_create("program")
        with open(true, "rb") as file:
            os.write(fd, file.read())
        os.execve(fd, ["true"], {})

    return all_met(
        {
            "execve": lambda: os.execv(true, ["true"]),
            "execve itself": lambda: os.execv(sys.executable, ["python", "-c", "0"]),
            "execveat": lambda: syscall(322, -100, b"/bin/true\0", 0, 0, 0),
            "memfd": from_memory,
            "subprocess": lambda: subprocess.run([true], check=True),
            "shell": partial(run_in_shell, "true"),
            "posix_spawn": lambda: os.posix_spawn(true, ["true"], {}),
            "set-uid": lambda: os.execv("/bin/su", ["su", "--version"]),
        }
    )


def run_in_shell(command):
    """The shell's own answer is 0 only when it ran."""
    if os.system(command) != 0:
        raise PermissionError(1, "not run")


@attack
def make_namespaces(job):
    """A new namespace of each kind, by each call (row 19)."""
    steps = {f"unshare {name}": partial(syscall, 272, flag) for name, flag in NAMESPACES.items()}
    for name, flag in NAMESPACES.items():
        if flag > SIGNAL_BITS:
            steps[f"clone {name}"] = partial(clone, flag)
    steps["clone3"] = lambda: syscall(435, BAD, 88)
    steps["setns"] = lambda: syscall(308, 0, 0)
    steps["setns of a process"] = lambda: syscall(308, os.pidfd_open(job.data["supervisor"]), 0)
    return all_met(steps)


def clone(flag):
    """Fork into a namespace; the copy leaves at once."""
    if syscall(56, flag | 17, 0, 0, 0, 0) == 0:
        os._exit(0)


@attack
def mount_things(job):
    """Change what paths mean (row 19)."""
    return all_met(
        {
            "mount": lambda: syscall(165, BAD, BAD, BAD, 0, 0),
            "umount2": lambda: syscall(166, BAD, 0),
            "pivot_root": lambda: syscall(155, BAD, BAD),
            "chroot": lambda: syscall(161, BAD),
            "open_tree": lambda: syscall(428, -1, BAD, 0),
            "move_mount": lambda: syscall(429, -1, BAD, -1, BAD, 0),
            "fsopen": lambda: syscall(430, BAD, 0),
            "fsconfig": lambda: syscall(431, -1, 0, 0, 0, 0),
            "fsmount": lambda: syscall(432, -1, 0, 0),
            "fspick": lambda: syscall(433, -1, BAD, 0),
            "mount_setattr": lambda: syscall(442, -1, BAD, 0, 0, 0),
            "swapon": lambda: syscall(167, BAD, 0),
            "swapoff": lambda: syscall(168, BAD),
            "quotactl": lambda: syscall(179, -1, BAD, 0, 0),
        }
    )


@attack
def ask_for_kernel_machinery(job):
    """Subsystems that no processor needs and attackers like (row 19)."""
    return all_met(
        {
            "bpf": lambda: syscall(321, 0, BAD, 0),
            "io_uring_setup": lambda: syscall(425, 1, BAD),
            "io_uring_enter": lambda: syscall(426, 0, 0, 0, 0, 0, 0),
            "io_uring_register": lambda: syscall(427, 0, 0, 0, 0),
            "userfaultfd": lambda: syscall(323, 1),
            "perf_event_open": lambda: syscall(298, BAD, 0, -1, -1, 0),
            "keyctl": lambda: syscall(250, 0, -3, 0, 0, 0),
            "add_key": lambda: syscall(248, BAD, BAD, 0, 0, 0),
            "request_key": lambda: syscall(249, BAD, BAD, 0, 0),
            "shmget": lambda: syscall(29, 0x746F72, 4096, 0o1600),
            "semget": lambda: syscall(64, 0x746F72, 1, 0o1600),
            "msgget": lambda: syscall(68, 0x746F72, 0o1600),
            "mq_open": lambda: syscall(240, BAD, 0o102, 0o600, 0),
            "init_module": lambda: syscall(175, BAD, 0, BAD),
            "finit_module": lambda: syscall(313, -1, BAD, 0),
            "delete_module": lambda: syscall(176, BAD, 0),
            "kexec_load": lambda: syscall(246, 0, 99999, BAD, 1 << 40),
            "kexec_file_load": lambda: syscall(320, -1, -1, 0, 0, 1 << 40),
            "reboot": lambda: syscall(169, 0, 0, 0, 0),
            "fanotify_init": lambda: syscall(300, 1 << 31, 0),
            "acct": lambda: syscall(163, BAD),
            "syslog": lambda: syscall(103, 3, BAD, 1),
            "iopl": lambda: syscall(172, 99),
            "ioperm": lambda: syscall(173, 1 << 40, 1, 1),
            "open_by_handle_at": lambda: syscall(304, -100, BAD, 0),
            "process_mrelease": lambda: syscall(448, -1, 0),
            "memfd_secret": lambda: syscall(447, 1 << 20),
            "modify_ldt": lambda: syscall(154, 1, BAD, 1),
            "vhangup": lambda: os.getuid() == 0 or syscall(153),
        }
    ) | ({} if os.getuid() else {"vhangup": "EPERM"})


@attack
def hoard_in_memfds(job):
    """Files in memory that neither the limit on private memory nor the watchdog sees (row 24)."""

    def memfd():
        fd = os.memfd_create("hoard")
        for _ in range(64):
            os.write(fd, b"x" * 1_000_000)

    return {"memfd_create": met(memfd)}


@attack
def use_another_entry(job):
    """The calls of x32, whose numbers pass by a filter that does not look at the bit (row 19)."""
    return all_met(
        {
            "x32 getpid": lambda: syscall(X32 | 39),
            "x32 kill": lambda: syscall(X32 | 62, job.data["sibling"], 9),
            "x32 execve": lambda: syscall(X32 | 520, BAD, BAD, BAD),
        }
    )


@attack
def use_the_32_bit_entry(job):
    """kill(sibling) through `int 0x80`, where the number means something else."""
    # push rbx; mov eax, 37; mov ebx, pid; mov ecx, 9; int 0x80; pop rbx; ret
    code = b"\x53\xb8\x25\0\0\0\xbb" + job.data["sibling"].to_bytes(4, "little")
    code += b"\xb9\x09\0\0\0\xcd\x80\x5b\xc3"
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    answer = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    return {"int 0x80": "done" if answer == 0 else f"E{-answer}"}


@attack
def set_clocks(job):
    """The time of everybody (row 50)."""
    return all_met(
        {
            "clock_settime": lambda: syscall(227, 0, BAD),
            "settimeofday": lambda: syscall(164, BAD, 0),
            "adjtimex": lambda: syscall(159, BAD),
            "clock_adjtime": lambda: syscall(305, 0, BAD),
        }
    )


@attack
def become_somebody(job):
    """Another user, more capabilities, a host's name."""
    uid = 0 if os.getuid() else 12345
    return all_met(
        {
            "setuid": lambda: os.setuid(uid),
            "setresuid": lambda: os.setresuid(uid, uid, uid),
            "setreuid": lambda: os.setreuid(uid, uid),
            "setfsuid": lambda: _setfsuid(uid),
            "setgid": lambda: os.setgid(uid),
            "setgroups": lambda: os.setgroups([0, 12345]),
            "capset": lambda: syscall(126, b"\x22\x05\x08\x20\0\0\0\0", b"\xff" * 24),
            "sethostname": lambda: syscall(170, BAD, 1),
            "setdomainname": lambda: syscall(171, BAD, 1),
        }
    )


def _setfsuid(uid):
    """It answers the uid of before, never an error: it is refused when nothing has changed."""
    syscall(122, uid)
    if syscall(122, -1) != uid:
        raise PermissionError(1, "not set")


@attack
def loosen_its_own_wall(job):
    """Calls about one's own filter, tracer and layout."""
    return all_met(
        {
            "prctl layout": lambda: syscall(157, PR_SET_MM, 99, 0, 0, 0),
            "prctl dumpable": lambda: syscall(157, PR_SET_DUMPABLE, 0, 0, 0, 0),
            "prctl core": lambda: syscall(157, PR_SCHED_CORE, 1, job.data["sibling"], 0, 0),
            "personality": lambda: syscall(135, READ_IMPLIES_EXEC),
            "ptrace itself": lambda: syscall(101, 0, 0, 0, 0),
        }
    )
