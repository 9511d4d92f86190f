"""Looks at work directories beside the loop: a thread, because a hostile one takes long to read.

One thread for all children of a zygote, started with the first look. What it finds is told on the
loop. A change must keep: the thread never holds more than one directory open, and pauses after
every few entries, so that the loop that renews locks gets its turn.
"""

# ruff: noqa: PTH115, PTH116, PTH117, PTH208 - names in /proc

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING

from toril.sandbox.disk import UnmeasurableError, measure
from toril.units import format_bytes

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_PORTION = 256
"""Entries between two pauses; chosen: about 1 ms of looking."""

_PAUSE_S = 0.001
"""Chosen: as long as a portion, so that half of one core is the most that a look takes."""

_UNIT_BYTES = 512


class DiskWatch:
    """Measures work directories of one limit; `close` ends it.

    Args:
        loop: where answers are told.
        limit_bytes: what a work directory may hold.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_bytes: int) -> None:
        self._loop = loop
        self._limit_bytes = limit_bytes
        self._asked: SimpleQueue[tuple[str, int, Callable[[str], None]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def look(self, directory: str, pid: int, answer: Callable[[str], None]) -> None:
        """Measure soon; `answer` is called on the loop with what is wrong, empty for nothing.

        Args:
            directory: a child's work directory.
            pid: the child, whose open files count too when they have no name any more.
            answer: told once.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="toril disk", daemon=True)
            self._thread.start()
        self._asked.put((directory, pid, answer))

    def close(self) -> None:
        """No more looks; one at work goes on to its end, untold."""
        self._asked.put(None)

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            directory, pid, answer = asked
            words = self._judge(directory, pid)
            with suppress(RuntimeError):  # The loop is closed: nobody listens any more.
                self._loop.call_soon_threadsafe(answer, words)

    def _judge(self, directory: str, pid: int) -> str:
        limit = self._limit_bytes
        found = nameless_bytes(pid)
        try:
            for number, size in enumerate(measure(directory, limit), 1):
                if size + found > limit:
                    found += size
                    break
                if number % _PORTION == 0:
                    time.sleep(_PAUSE_S)
        except UnmeasurableError as error:
            return f"{error}, killed"
        if found <= limit:
            return ""
        return f"at least {format_bytes(found)} (limit {format_bytes(limit)}), killed"


def nameless_bytes(pid: int) -> int:
    """What a process's open files take that have been removed from their directory.

    Files of a memory file system are memory, and counted there. Source: proc_pid_fd(5).
    """
    found = 0
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                status = os.stat(f"/proc/{pid}/fd/{name}")
                if status.st_nlink == 0 and os.path.isabs(os.readlink(f"/proc/{pid}/fd/{name}")):
                    found += status.st_blocks * _UNIT_BYTES
    return found
