"""Processors that say what they see, and try what they may not."""

# ruff: noqa: ARG001, B023, PTH108, PTH109, PTH110, PTH116, PTH123, PTH202, PTH208

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time


def tried(act):
    """What became of an act: `ok`, or the error's name."""
    try:
        act()
    except OSError as error:
        return os.strerror(error.errno)
    return "ok"


def look(job):
    libc = ctypes.CDLL(None)
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "uid": os.getuid(),
        "groups": os.getgroups(),
        "host": os.uname().nodename,
        "root": sorted(os.listdir("/")) if os.getpid() == 1 else [],
        "here": os.getcwd(),
        "held": os.listdir(),
        "bounding": [number for number in range(41) if libc.prctl(23, number, 0, 0, 0) == 1],
        "proc": os.path.exists("/proc/self"),
        "umask": os.umask(0o077),
    }


def reach(job):
    """Read, list and write what the host has."""
    return {
        path: [
            tried(lambda: os.stat(path)),
            tried(lambda: os.close(os.open(path, os.O_RDONLY))),
            tried(lambda: os.close(os.open(path, os.O_WRONLY))),
        ]
        for path in job.data
    }


def write(job):
    with open(job.data["path"], "w") as file:
        file.write(job.data["text"])
    return os.path.getsize(job.data["path"])


def fill(job):
    """Write until it is full; how much that was."""
    size = 0
    with open("full", "wb", buffering=0) as file:
        try:
            while size < job.data:
                size += file.write(bytes(1 << 20))
        except OSError as error:
            return [os.strerror(error.errno), size]
    return ["ok", size]


def fill_slowly(job):
    """Write a MiB every few milliseconds, for ever; into a file without a name if told so."""
    with open("full", "wb", buffering=0) as file:
        if job.data == "nameless":
            os.unlink("full")
        while True:
            file.write(bytes(1 << 20))
            time.sleep(0.01)


def many_files(job):
    number = 0
    while True:
        number += 1
        os.close(os.open(str(number), os.O_CREAT))


def start(job):
    """Fork, exec, a thread."""
    thread = threading.Thread(target=lambda: None)
    done = {
        "fork": tried(os.fork),
        "exec": tried(lambda: os.execv(sys.executable, [sys.executable])),
        "thread": tried(thread.start),
        "kill all": tried(lambda: os.kill(-1, signal.SIGKILL)),
        "unshare": "ok" if ctypes.CDLL(None).unshare(0x10000000) == 0 else "refused",
    }
    thread.join()
    return done


def bomb(job):
    """Fork without end; how far it came."""
    count = 0
    while count < 1000:
        try:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
        except OSError as error:
            return [os.strerror(error.errno), count]
        count += 1
    return ["ok", count]


def threads(job):
    """Threads without end; how many there were."""
    stop, count = threading.Event(), 0
    try:
        while count < 1000:
            threading.Thread(target=stop.wait, daemon=True).start()
            count += 1
    except RuntimeError:
        pass
    stop.set()
    return count


def stop_itself(job):
    os.kill(os.getpid(), signal.SIGSTOP)
    return "going on"


def abort(job):
    os.abort()


def leave(job):
    os._exit(0)


def spin(job):
    job.log("spinning")
    while True:
        pass


def preloaded(job):
    import apart_library  # noqa: PLC0415 - it must not be here before

    return apart_library.PID


processors = {
    function.__name__: function
    for function in (
        *(look, reach, write, fill, fill_slowly, many_files, start, bomb, stop_itself, abort),
        *(leave, spin, preloaded, threads),
    )
}
