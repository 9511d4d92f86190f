"""Attacks on other processes: the supervisor, the zygote, the sibling."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import resource
import signal
import socket
import struct
import time
from functools import partial

from tests.hostile.attacks.steps import all_met, attack, met, syscall

PTRACE_ATTACH, PTRACE_SEIZE, PTRACE_TRACEME = 16, 0x4206, 0
F_SETOWN_EX, F_SETSIG = 15, 10
FIOSETOWN, SIOCSPGRP = 0x8901, 0x8902
VICTIMS = ("supervisor", "zygote", "sibling")
SIGNAL_S = 0.05
"""In which a signal that is on its way has arrived; chosen: 100 times the usual."""


@attack
def kill_others(job):
    """SIGKILL to everybody by every number that names somebody (row 1)."""
    steps = {name: partial(strike, job.data[name]) for name in VICTIMS}
    steps |= {
        "supervisor's group": partial(strike, -job.data["supervisor_group"]),
        "sibling's group": partial(strike, -job.data["sibling"]),
    }
    return all_met(steps)


def strike(pid):
    """Signal 0 asks for the same permission; what lets it through is a breach, without a corpse."""
    if met(partial(os.kill, pid, 0)) != "done":
        os.kill(pid, signal.SIGKILL)


@attack
def kill_everybody(job):
    """Everybody whom it may signal (row 1); root would take the machine along if it could."""
    return {"everybody": met(partial(os.kill, -1, signal.SIGKILL if os.getuid() else 0))}


@attack
def kill_others_by_thread(job):
    """The same by tkill, tgkill and queued signals, which libc does not offer (row 1)."""
    pid, info = job.data["sibling"], ctypes.create_string_buffer(128)
    struct.pack_into("<iii", info, 0, signal.SIGKILL, 0, -1)
    return all_met(
        {
            "tkill": lambda: syscall(200, pid, 9),
            "tgkill": lambda: syscall(234, pid, pid, 9),
            "rt_sigqueueinfo": lambda: syscall(129, pid, 9, ctypes.addressof(info)),
            "rt_tgsigqueueinfo": lambda: syscall(297, pid, pid, 9, ctypes.addressof(info)),
        }
    )


@attack
def kill_others_by_pidfd(job):
    """A descriptor of the process, and what can be done with it (row 2)."""

    def by_pidfd(pid):
        signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGKILL)

    steps = {name: partial(by_pidfd, job.data[name]) for name in VICTIMS}
    for fd in range(10):
        steps[f"signal through {fd}"] = partial(signal.pidfd_send_signal, fd, signal.SIGKILL)
    return {name: said for name, said in all_met(steps).items() if said != "EBADF"}


@attack
def kill_others_by_ownership(job):
    """The kernel signals the owner of a descriptor when it becomes readable (row 3)."""
    ours, theirs = socket.socketpair()
    pid = job.data["sibling"]
    owner = struct.pack("<ii", 1, pid)
    steps = all_met(
        {
            "F_SETOWN": lambda: fcntl.fcntl(ours, fcntl.F_SETOWN, pid),
            "F_SETOWN group": lambda: fcntl.fcntl(ours, fcntl.F_SETOWN, -pid),
            "F_SETOWN_EX": lambda: fcntl.fcntl(ours, F_SETOWN_EX, owner),
            "F_SETSIG": lambda: fcntl.fcntl(ours, F_SETSIG, signal.SIGKILL),
            "FIOSETOWN": lambda: fcntl.ioctl(ours, FIOSETOWN, struct.pack("<i", pid)),
            "SIOCSPGRP": lambda: fcntl.ioctl(ours, SIOCSPGRP, struct.pack("<i", pid)),
        }
    )
    fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    theirs.send(b"x")
    time.sleep(SIGNAL_S)
    return steps


@attack
def trace_others(job):
    """Debug somebody (row 4)."""
    steps = {}
    for name in VICTIMS:
        steps[f"attach {name}"] = partial(syscall, 101, PTRACE_ATTACH, job.data[name], 0, 0)
        steps[f"seize {name}"] = partial(syscall, 101, PTRACE_SEIZE, job.data[name], 0, 0)
    return all_met(steps)


@attack
def read_memory_of_others(job):
    """Copy out of, or into, another process's memory; take its descriptors (row 5)."""
    buffer = ctypes.create_string_buffer(16)
    local = struct.pack("<QQ", ctypes.addressof(buffer), 16)
    remote = struct.pack("<QQ", id(job), 16)

    def vm(number, pid):
        return syscall(number, pid, local, 1, remote, 1, 0)

    steps = {}
    for name in VICTIMS:
        pid = job.data[name]
        steps[f"process_vm_readv {name}"] = partial(vm, 310, pid)
        steps[f"process_vm_writev {name}"] = partial(vm, 311, pid)
        steps[f"pidfd_getfd {name}"] = lambda pid=pid: syscall(438, os.pidfd_open(pid), 3, 0)
        steps[f"kcmp {name}"] = partial(syscall, 312, os.getpid(), pid, 0, 3, 3)
    return all_met(steps)


def read(path, count=4096):
    with open(path, "rb", buffering=0) as file:
        return file.read(count)


@attack
def read_proc_of_others(job):
    """What /proc tells of somebody (row 6)."""
    steps = {}
    for name in ("supervisor", "zygote"):
        at = f"/proc/{job.data[name]}"
        for part in ("environ", "mem", "maps", "auxv", "stack", "syscall"):
            steps[f"{name} {part}"] = partial(read, f"{at}/{part}")
        for part in ("fd", "fdinfo", "map_files"):
            steps[f"{name} {part}"] = partial(os.listdir, f"{at}/{part}")
        steps[f"{name} fd 3"] = partial(os.open, f"{at}/fd/3", os.O_RDWR)
        for part in ("root", "cwd", "exe"):
            steps[f"{name} {part}"] = partial(os.readlink, f"{at}/{part}")
        steps[f"{name} task"] = partial(read, f"{at}/task/{job.data[name]}/environ")
    return all_met(steps)


@attack
def look_for_secrets(job):
    """Everything of its own that could hold what the supervisor knows (row 7)."""
    found = [repr(sorted(os.environ.items()))]
    for path in ("environ", "cmdline", "maps"):
        try:
            found.append(read(f"/proc/self/{path}", 1_000_000).decode(errors="replace"))
        except OSError as error:
            found.append(str(error))
    found += [text for text in writable_memory() if job.data["marker"].encode() in text]
    return [str(one)[:20_000] for one in found]


def writable_memory():
    """Heap and stack of this process, as far as they can be read."""
    try:
        with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
            for line in maps:
                span, rights = line.split()[:2]
                start, end = (int(one, 16) for one in span.split("-"))
                if rights.startswith("rw") and end - start < 64 * mmap.PAGESIZE * 256:
                    memory.seek(start)
                    yield memory.read(end - start)
    except OSError:
        return


@attack
def bend_others(job):
    """Change what another process may use, and when it runs (row 8)."""
    pid = job.data["sibling"]
    idle, limit = struct.pack("<i", 0), struct.pack("<QQ", 1, 1)
    return all_met(
        {
            "prlimit": lambda: resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1)),
            "prlimit raw": lambda: syscall(302, pid, resource.RLIMIT_CPU, limit, 0),
            "setpriority": lambda: os.setpriority(os.PRIO_PROCESS, pid, 19),
            "setpriority group": lambda: os.setpriority(os.PRIO_PGRP, pid, 19),
            "setpriority user": lambda: os.setpriority(os.PRIO_USER, os.getuid() or 12345, 19),
            "sched_setaffinity": lambda: os.sched_setaffinity(pid, {0}),
            "sched_setscheduler": lambda: syscall(144, pid, 5, idle),
            "sched_setparam": lambda: syscall(142, pid, idle),
            "sched_setattr": lambda: syscall(
                314, pid, struct.pack("<IIQiIQQQ", 48, 5, *[0] * 6), 0
            ),
            "ioprio_set": lambda: syscall(251, 1, pid, 3 << 13),
            "migrate_pages": lambda: syscall(256, pid, 64, b"\1" * 8, b"\1" * 8),
            "move_pages": lambda: syscall(279, pid, 0, 0, 0, 0, 0),
            "process_madvise": lambda: syscall(440, os.pidfd_open(pid), 0, 0, 20, 0),
            "setpgid": lambda: os.setpgid(pid, pid),
        }
    )


@attack
def mark_others_for_death(job):
    """Have the kernel take somebody else when memory is short (row 9)."""

    def write(pid, part, text):
        with open(f"/proc/{pid}/{part}", "w") as file:
            file.write(text)

    steps = {}
    for name in VICTIMS:
        pid = job.data[name]
        steps[f"oom_score_adj {name}"] = partial(write, pid, "oom_score_adj", "1000")
        steps[f"clear_refs {name}"] = partial(write, pid, "clear_refs", "1")
        steps[f"timerslack_ns {name}"] = partial(write, pid, "timerslack_ns", "1000000000")
        steps[f"comm {name}"] = partial(write, pid, "comm", "x")
    return all_met(steps)


@attack
def spare_itself_from_oom(job):
    """Have the kernel take anybody else when memory is short."""

    def write():
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("-1000")

    return {"oom_score_adj": met(write)}


@attack
def outlive_its_parent(job):
    """No death signal, another subreaper, a process of the zygote's own: gone with the child."""
    libc = ctypes.CDLL(None)
    libc.prctl(1, 0, 0, 0, 0)  # PR_SET_PDEATHSIG
    libc.prctl(36, 0, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    pid = met(clone_beside)
    job.log("begun")
    while True:
        time.sleep(1)
    return pid


def clone_beside():
    """clone(CLONE_PARENT): the new process is the zygote's child, not ours."""
    pid = syscall(56, 0x8000 | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        while True:
            time.sleep(1)


@attack
def signal_at_death_of_others(job):
    """A timer or a message queue that signals somebody else."""
    pid = job.data["sibling"]
    event = struct.pack("<QiiiI", 0, signal.SIGKILL, 4, pid, 0) + bytes(48)  # SIGEV_THREAD_ID
    timer = ctypes.create_string_buffer(8)
    return all_met(
        {
            "timer_create": lambda: syscall(222, 1, event, ctypes.addressof(timer)),
            "mq_notify": lambda: syscall(244, 0, event),
            "pidfd_open thread": lambda: syscall(434, pid, os.O_EXCL),
            "pidfd_send_signal group": lambda: syscall(424, 3, 9, 0, 4),
        }
    )
