"""Attacks on the runtime's own code in the child, for the sake of the next job."""

from __future__ import annotations

import builtins
import gc
import json
import os
import signal
import socket
import struct
import sys
import threading
import time

from tests.hostile.attacks.steps import attack
from tests.process.processors.hostile import wait_to_be_killed


@attack
def replace_the_writers(job):
    """os.write, os._exit, the encoder, the packer: what the runtime once looked up."""
    os.write = os._exit = lambda *_: 0
    json.dumps = json.loads = json.JSONEncoder.encode = lambda *_, **__: '"forged"'
    struct.pack = struct.Struct = struct.unpack = lambda *_: b"forged"
    socket.socket.sendall = lambda *_: None
    builtins.bytes = builtins.dict = builtins.Exception = None
    return "own"


@attack
def trace_the_runtime(job):
    """A trace function that would see the next job's data pass by."""

    def spy(frame, event, value):
        if event == "return" and isinstance(value, dict) and "secret" in value:
            os.write(1, b"seen")
        return spy

    sys.settrace(spy)
    sys.setprofile(spy)
    threading.settrace(spy)
    sys._getframe(1).f_trace = spy
    return "own"


@attack
def hook_the_collector(job):
    """The same through the garbage collector: whatever it finds, it may change."""

    def hook(phase, _info):
        for one in gc.get_objects():
            if isinstance(one, dict) and one.get("name") == "echo" and "data" in one:
                one["data"] = "forged"

    gc.callbacks.append(hook)
    gc.set_threshold(1)
    return "own"


@attack
def spoil_the_interpreter(job):
    """Recursion, switching, hooks, path, timers: anything the next job leans on."""
    sys.setrecursionlimit(60)
    sys.setswitchinterval(1000)
    sys.path[:] = []
    sys.excepthook = sys.unraisablehook = sys.displayhook = None
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    signal.signal(signal.SIGALRM, lambda *_: None)
    return "own"


@attack
def close_what_it_does_not_own(job):
    """Standard streams and the stack's pipe."""
    for fd in (0, 1, 2, 4):
        os.close(fd)
    return "own"


@attack
def change_its_place(job):
    """Where it stands and what it makes (row 48)."""
    os.chdir("/")
    os.umask(0)
    os.environ.clear()
    os.environ["LD_PRELOAD"] = "/tmp/evil.so"
    os.environ["TORIL_REDIS_URL"] = "redis://evil"
    return "own"


@attack
def answer_sigterm_with_a_result(job):
    """A handler of its own that says what it likes when it should stop."""

    def forge(*_):
        job.log("forged")
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, forge)
    job.log("begun")
    wait_to_be_killed()


@attack
def swallow_every_interrupt(job):
    """Catch what is raised, raise something else, and go on (row 28)."""
    job.log("begun")
    while True:
        try:
            time.sleep(10)
        except BaseException:  # noqa: BLE001 - it does not want to hear
            continue


@attack
def spin_in_a_finaliser(job):
    """Never leave the exception that ends it."""

    class Late(Exception):
        def __str__(self):
            wait_to_be_killed()
            return ""

    raise Late


@attack
def change_the_wire(job):
    """Reach through the job into what it speaks with (its own process: it is free to)."""
    wire = job._sender
    wire.sequence = 2**62
    wire._send = lambda data: None
    return "own"


@attack
def grow_the_sequence(job):
    """Make the child's own count differ from the supervisor's."""
    object.__setattr__(job, "_sequence", job._sequence + 1)
    job.log("of the next job")
    return "own"


@attack
def rename_itself(job):
    """Look like somebody else in a list of processes."""
    with open("/proc/self/comm", "w") as comm:
        comm.write("systemd")
    return "own"
