"""Attacks by quantity: processes, threads, descriptors, memory, output, work without an end."""

from __future__ import annotations

import _thread
import ctypes
import gc
import mmap
import os
import signal
import socket
import sys
import threading
import time

from tests.hostile.attacks.steps import attack, met, syscall


@attack
def bomb_with_forks(job):
    """Fork until nothing more comes; the copies do not go away (row 20)."""
    job.log("begun")
    made = 0
    while made < 400:
        try:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
        except OSError as error:
            return {"made": made, "errno": error.errno}
        made += 1
    return {"made": made, "errno": 0}


@attack
def bomb_with_families(job):
    """Copies that make copies in sessions of their own, and ignore what can be ignored (row 20)."""
    job.log("begun")
    for _ in range(6):
        try:
            if os.fork() == 0:
                os.setsid()
                for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                    signal.signal(number, signal.SIG_IGN)
        except OSError:
            break
    time.sleep(60)


@attack
def bomb_with_threads(job):
    """Threads until nothing more comes (row 21)."""
    made = 0
    gate = threading.Event()
    threading.stack_size(32768 * 8)
    while made < 2000:
        try:
            threading.Thread(target=gate.wait, daemon=True).start()
        except (RuntimeError, MemoryError):
            break
        made += 1
    return {"made": made, "stopped": made < 2000}


@attack
def hoard_in_stacks(job):
    """Address space that is no data: stacks that grow downwards, and mappings of files."""
    kept = []
    with open("file", "w+b") as file:
        try:
            file.truncate(8_000_000)
            while len(kept) < 200:
                kept.append(mmap.mmap(file.fileno(), 8_000_000))
                for at in range(0, 8_000_000, mmap.PAGESIZE):
                    kept[-1][at] = 1
        except (OSError, MemoryError):
            return len(kept)
    return len(kept)


@attack
def hoard_from_c(job):
    """Memory that no Python object stands for: brk, mremap, MAP_GROWSDOWN."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    made = 0
    while made < 1000:
        pointer = libc.malloc(ctypes.c_size_t(4_000_000))
        if not pointer:
            return {"made": made}
        ctypes.memset(pointer, 1, 4_000_000)
        made += 1
    return {"made": made}


@attack
def hoard_in_pipes(job):
    """The kernel's own buffers: pipes and sockets, as many as there are descriptors."""
    held = 0
    try:
        while True:
            _, writing = os.pipe()
            os.set_blocking(writing, False)
            try:
                while True:
                    held += os.write(writing, b"x" * 65536)
            except BlockingIOError:
                continue
    except OSError as error:
        return {"held": held, "errno": error.errno}


@attack
def hold_descriptors_in_flight(job):
    """Descriptors that lie in a socket count against the user: enough of them, and nobody sends."""
    held = 0
    for _ in range(30):
        near, far = socket.socketpair()
        near.setblocking(False)
        _HELD.extend((near, far))
        try:
            while True:
                socket.send_fds(near, [b"x"], [near.fileno()] * 250)
                held += 250
        except OSError:
            continue
    return "held"


_HELD: list[socket.socket] = []


@attack
def bomb_with_small_threads(job):
    """Threads with the smallest stacks: numbers that the whole machine has a limit of (row 21)."""
    made = 0
    gate = threading.Lock()
    gate.acquire()
    threading.stack_size(32768)
    while made < 5000:
        try:
            _thread.start_new_thread(gate.acquire, ())
        except (RuntimeError, MemoryError):
            break
        made += 1
    return {"made": made, "stopped": made < 5000}


@attack
def keep_small_threads(job):
    """The same, and none of them ends; bounded where nothing else counts them (row 21)."""
    made = bomb_with_small_threads(job)
    if made["made"] > 1000:
        time.sleep(60)
    return made


@attack
def stop_itself(job):
    """SIGSTOP by every way; nobody can ask it anything any more (row 28)."""
    job.log("begun")
    os.kill(os.getpid(), signal.SIGSTOP)
    while True:
        time.sleep(1)


@attack
def raise_its_own_limits(job):
    """Take back what was taken (and nice, and the deadline scheduler)."""
    import resource  # noqa: PLC0415 - only here

    def more(kind):
        _, hard = resource.getrlimit(kind)
        if hard == resource.RLIM_INFINITY:
            raise PermissionError(1, "as high as it gets")
        resource.setrlimit(kind, (hard + 1, hard + 1))

    steps = {
        name: met(lambda name=name: more(getattr(resource, name)))
        for name in ("RLIMIT_DATA", "RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_MEMLOCK")
    }
    steps["nice"] = met(lambda: os.nice(-5))
    steps["real time"] = met(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)))
    steps["mlockall"] = met(lambda: syscall(151, 3))
    return steps


@attack
def recurse_without_end(job):
    """A recursion limit that is none (row 31)."""
    sys.setrecursionlimit(10**9)
    job.log("begun")

    def down(depth):
        return down(depth + 1) + 1

    return down(0)


@attack
def leak(job):
    """A little of everything kept for ever (row 51)."""
    _LEAKED.append(bytearray(job.data))
    return len(_LEAKED)


_LEAKED: list[bytearray] = []


@attack
def leave_zombies(job):
    """Processes that ended and were not waited for (row 49)."""
    for _ in range(20):
        if os.fork() == 0:
            os._exit(0)
    return "left"


@attack
def flood_stdout(job):
    """More output than anybody reads (row 45)."""
    block = b"x" * 65536 + b"\n"
    job.log("begun")
    for _ in range(job.data["argument"] or 400):
        os.write(1, block)
        os.write(2, block)
    return "said"


@attack
def flood_stdout_for_ever(job):
    """Empty lines, one by one in blocks, until somebody stops it (row 45)."""
    job.log("begun")
    block = b"\n" * 65536
    while True:
        os.write(1, block)


@attack
def hang_when_it_ends(job):
    """Finalisers and exit handlers that never come back (row 47)."""
    import atexit  # noqa: PLC0415 - only here

    class Sticky:
        def __del__(self):
            time.sleep(60)

    atexit.register(time.sleep, 60)
    _LEAKED.append(Sticky())
    return "left"


@attack
def collect_for_ever(job):
    """A hook of the garbage collector that never comes back, set for later code to run into."""

    def hook(phase, _info):
        if phase == "start" and job is not None:
            time.sleep(60)

    gc.callbacks.append(hook)
    return "set"
