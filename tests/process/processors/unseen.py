"""Takes what it should not have while no job is at work: a thread that Python does not count."""

from __future__ import annotations

import _thread
import ctypes
import mmap
import time
from typing import Any

MIB = 1024 * 1024

_kept: list[Any] = []


def take_memory() -> None:
    shared = mmap.mmap(-1, 200 * MIB)
    _kept.append(shared)
    for at in range(0, len(shared), mmap.PAGESIZE):
        shared[at] = 1


def take_disk() -> None:
    for number in range(64):
        with open(f"file-{number}", "wb") as file:  # noqa: PTH123 - in the work directory
            file.write(bytes(MIB))


def take_threads() -> None:
    _thread.stack_size(65536)
    gate = _thread.allocate_lock()
    gate.acquire()
    for _ in range(60):
        _thread.start_new_thread(gate.acquire, ())


def take(what: str) -> None:
    """By the name of what is taken."""
    {"memory": take_memory, "disk": take_disk, "threads": take_threads}[what]()


def later(job: Any) -> str:
    """Return at once; a C thread goes on."""

    def go_on(_: object) -> None:
        while not _kept:
            time.sleep(0.01)
        time.sleep(0.1)
        take(job.data)

    entry = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(go_on)
    _kept.append(entry)
    handle = ctypes.c_ulong()
    ctypes.CDLL(None).pthread_create(ctypes.byref(handle), None, entry, None)
    return "done"
