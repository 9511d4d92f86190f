"""Processors that break out of everything a processor should do."""

# ruff: noqa: ARG001, BLE001, PLE0307, PTH102, PTH108, PTH109, PTH123, T201 - what hostile code does

from __future__ import annotations

import _thread
import builtins
import contextlib
import ctypes
import gc
import json
import mmap
import os
import re
import signal
import socket
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toril import SandboxedJob

DATA_FD = 3
CALLS_FD = 6
SO_ATTACH_FILTER = 26  # asm-generic/socket.h


def frame(frame_type: int, sequence: int, payload: bytes, *, version: int = 1, length=None):
    size = len(payload) if length is None else length
    return struct.pack("<IBBHQ", size, frame_type, version, 0, sequence) + payload


def say(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(DATA_FD, view) :]


def wait_to_be_killed() -> None:
    while True:
        time.sleep(1)


def exit_with(job: SandboxedJob):
    os._exit(job.data)


def exit_politely(job: SandboxedJob):
    sys.exit(job.data)


def interrupt_keyboard(job: SandboxedJob):
    raise KeyboardInterrupt


def raise_base(job: SandboxedJob):
    class Odd(BaseException):
        pass

    raise Odd("odd one")


def segfault(job: SandboxedJob):
    print("just before", file=sys.stderr)
    ctypes.string_at(0)


def abort(job: SandboxedJob):
    os.abort()


def kill_itself(job: SandboxedJob):
    os.kill(os.getpid(), signal.SIGKILL)


def return_a_set(job: SandboxedJob):
    return {1, 2}


def return_nan(job: SandboxedJob):
    return [float("nan")]


def return_a_circle(job: SandboxedJob):
    circle: list = []
    circle.append(circle)
    return circle


def return_a_surrogate(job: SandboxedJob):
    return "\ud800"


def return_depth(job: SandboxedJob):
    deep: list = []
    for _ in range(job.data):
        deep = [deep]
    return deep


def return_depth_without_limit(job: SandboxedJob):
    sys.setrecursionlimit(10**9)
    threading.stack_size(0)
    return return_depth(job)


def return_bytes_of_text(job: SandboxedJob):
    return "x" * job.data


def exit_while_encoded(job: SandboxedJob):
    class Trap(dict):
        def items(self):
            os._exit(9)

    return Trap(a=1)


def raise_silent_killer(job: SandboxedJob):
    class Killer(Exception):
        def __str__(self):
            os._exit(7)

    raise Killer


def raise_mute(job: SandboxedJob):
    class Mute(Exception):
        def __str__(self):
            raise SystemExit(1)

    raise Mute


def raise_very_long(job: SandboxedJob):
    raise ValueError("\x00" * 50_000_000)


def raise_surrogate(job: SandboxedJob):
    raise ValueError("\ud800 half a letter")


def ignore_everything(job: SandboxedJob):
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    job.log("begun")
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass


def spin_in_c(job: SandboxedJob):
    job.log("begun")
    return sum(range(10**12))


def spin_in_regular_expression(job: SandboxedJob):
    job.log("begun")
    return re.match(r"(a+)+$", "a" * 60 + "b")


def result_then_exit(job: SandboxedJob):
    say(frame(20, job._sequence, json.dumps("x" * job.data).encode()))
    os._exit(0)


def result_in_two_halves_and_exit(job: SandboxedJob):
    whole = frame(20, job._sequence, b'"whole"')
    say(whole[:20])
    os._exit(0)


def tell_sequence(job: SandboxedJob):
    return job._sequence


def break_rule(job: SandboxedJob):
    say(broken(job))
    wait_to_be_killed()


def break_rule_and_exit(job: SandboxedJob):
    say(broken(job))
    os._exit(0)


def broken(job: SandboxedJob) -> bytes:
    """A frame that breaks the rule which the job's data names."""
    sequence = job._sequence
    error = {"kind": "delayed", "name": "D", "message": "", "stack": "", "delay_ms": -1}
    raised = error | {"kind": "raised", "delay_ms": 0, "backoff_ms": -2}
    rules = {
        "garbage": os.urandom(3) + b"\xff" * 4096,
        "length": frame(20, sequence, b"", length=2**32 - 1),
        "too-large": frame(20, sequence, b"", length=2**21),
        "version": frame(20, sequence, b"1", version=2),
        "type": frame(99, sequence, b"1"),
        "supervisor-type": frame(1, sequence, b"{}"),
        "sequence": frame(20, sequence + 1, b"1"),
        "state": frame(16, 0, b""),
        "not-json": frame(20, sequence, b"{'a': 1}"),
        "nan": frame(20, sequence, b"NaN"),
        "not-utf8": frame(20, sequence, b'"\xff"'),
        "error-shape": frame(21, sequence, b'{"kind": "returned"}'),
        "progress": frame(18, sequence, b"half"),
        "call": frame(22, sequence, b"\0\0\0\0{}"),
        "call-number": frame(22, sequence, b"{}"),
        "usage": frame(25, sequence, b"{}"),
        "deep-progress": frame(18, sequence, b"[" * 60_000),
        "deep-data": frame(24, sequence, b"[" * 60_000),
        "delay": frame(21, sequence, json.dumps(error).encode()),
        "backoff": frame(21, sequence, json.dumps(raised).encode()),
    }
    return rules[job.data]


def second_result(job: SandboxedJob):
    say(frame(20, job._sequence, b"1") + frame(20, job._sequence, b"2"))
    wait_to_be_killed()


def frame_when_idle(job: SandboxedJob):
    sequence = job._sequence
    threading.Thread(
        target=lambda: (time.sleep(0.05), say(frame(18, sequence, b"1"))), daemon=True
    ).start()
    say(frame(20, sequence, b'"first"'))
    wait_to_be_killed()


def send_fds(job: SandboxedJob):
    with socket.socket(fileno=os.dup(DATA_FD)) as data, open(os.devnull) as null:
        socket.send_fds(data, [b"\xff" * 64], [null.fileno()] * 100)
    wait_to_be_killed()


def take_what_lies_ready(job: SandboxedJob):
    taken = [os.read(CALLS_FD, 16 * 1024) for _ in range(job.data["count"])]
    if job.data["stays"]:
        wait_to_be_killed()
    return len(taken)


def spoil_what_lies_ready(job: SandboxedJob):
    with socket.socket(fileno=os.dup(CALLS_FD)) as calls:
        calls.setblocking(True)
        calls.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 2**20)
        calls.setsockopt(socket.SOL_SOCKET, 42, 0)  # SO_PEEK_OFF
        for cut in (0, 1):  # Drop every packet, or all but its first byte.
            code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, cut))
            program = struct.pack("HxxxxxxQ", 1, ctypes.addressof(code))
            with contextlib.suppress(OSError):
                calls.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
                job.log("filtered")
        with contextlib.suppress(OSError):
            calls.send(b"forged")
        calls.shutdown(socket.SHUT_RDWR)
    os.close(CALLS_FD)
    job.log("begun")
    wait_to_be_killed()


def flood(job: SandboxedJob):
    data = frame(19, job._sequence, b"") * 4096
    job.log("begun")
    while True:
        say(data)


def close_socket(job: SandboxedJob):
    os.close(DATA_FD)
    wait_to_be_killed()


def take_memory(job: SandboxedJob):
    kept = []
    while True:
        kept.append(bytearray(10_000_000))


def take_shared_memory(job: SandboxedJob):
    """Mappings that the kernel's limit on private memory does not cover."""
    job.log("begun")
    kept = []
    while True:
        kept.append(mmap.mmap(-1, 4_000_000))
        kept[-1].write(b"x" * 4_000_000)
        time.sleep(0.01)


def open_many(job: SandboxedJob):
    kept = []
    try:
        while True:
            kept.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return [len(kept), error.errno]


def die_of_sigterm(job: SandboxedJob):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    job.log("begun")
    wait_to_be_killed()


def exit_at_sigterm(job: SandboxedJob):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
    job.log("begun")
    wait_to_be_killed()


def come_and_go_in_threads(job: SandboxedJob):
    """Threads whose frames change all the time, while somebody asks for the stack."""

    def climb(depth):
        return climb(depth - 1) if depth else list(range(3))

    def work():
        while True:
            climb(50)

    for _ in range(8):
        threading.Thread(target=work, daemon=True).start()
    job.log("begun")
    wait_to_be_killed()


def block_and_ask(job: SandboxedJob):
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    job.log("begun")
    while True:
        job.check()


def forget_all_handlers(job: SandboxedJob):
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    job.log("begun")
    time.sleep(job.data)
    return "alive"


def take_stack_pipe(job: SandboxedJob):
    """A file where the pipe was: a stack must not be written into it."""
    os.close(4)
    path = f"/tmp/toril-test-{os.getpid()}"
    assert os.open(path, os.O_RDWR | os.O_CREAT) == 4
    os.unlink(path)
    job.log("begun")
    time.sleep(job.data)
    return os.fstat(4).st_size


def close_everything(job: SandboxedJob):
    os.closerange(0, 100)
    return "said to nobody"


def flood_calls(job: SandboxedJob):
    say(frame(22, job._sequence, b'\0\0\0\0{"method": "add", "payload": {}}') * 100)
    wait_to_be_killed()


def meet_hooks(job: SandboxedJob):
    """A hundred calls deep for a moment, then what is hooked in."""

    def down(left):
        return down(left - 1) + 1 if left else (time.sleep(0.05) or 0)

    return [down(100), sys.gettrace() is None, len(gc.callbacks)]


def leave_thread_unseen(job: SandboxedJob):
    """A thread that `threading` does not know."""
    begun = threading.Lock()
    begun.acquire()

    def stay():
        begun.release()
        wait_to_be_killed()

    _thread.start_new_thread(stay, ())
    begun.acquire()
    return "left"


def echo_and_leave(job: SandboxedJob):
    return job.data


def litter_and_leave(job: SandboxedJob):
    for number in range(job.data):
        os.mkdir(f"folder-{number}")
    return job.data


def leave_hooks(job: SandboxedJob):
    """A tracer, a collector's hook, a low recursion limit and an alarm for whoever comes next."""
    sys.settrace(lambda *_: None)
    gc.callbacks.append(lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    sys.setrecursionlimit(60)
    return "left"


def leave_thread(job: SandboxedJob):
    threading.Thread(target=wait_to_be_killed, daemon=True).start()
    return "left"


def daemonise(job: SandboxedJob):
    """A grandchild by two forks in a session of its own; returns its pid."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
            os.write(writing, str(os.getpid()).encode())
            os.close(DATA_FD)
            wait_to_be_killed()
        os._exit(0)
    os.wait()
    return int(os.read(reading, 20))


def daemonise_and_wait(job: SandboxedJob):
    job.log(str(daemonise(job)))
    wait_to_be_killed()


def spoil_everything(job: SandboxedJob):
    json.dumps = None
    json.JSONEncoder = None
    os.chdir("/")
    os.umask(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdout = None
    sys.stderr.close()
    builtins.open = builtins.len = builtins.isinstance = builtins.sum = None
    return "spoiled"


def look_around(job: SandboxedJob):
    print("stdout works")
    print("stderr works", file=sys.stderr)
    with open(os.devnull) as null:
        works = isinstance(null.read(), str) and len("ab") == sum([1, 1])
    return {"cwd": os.getcwd(), "umask": os.umask(0o077), "builtins": works}


def wait_forever(job: SandboxedJob):
    job.log("begun")
    threading.Event().wait()


helpers = {frame, say, wait_to_be_killed, broken}
processors = {
    name: value
    for name, value in globals().items()
    if callable(value) and getattr(value, "__module__", "") == __name__ and value not in helpers
}
