"""The Python stack of a running child, asked for from outside: C code may hold its interpreter.

A signal makes the child's faulthandler write the stack into a pipe, in the signal handler itself.
Nothing says where such a stack ends; it is over when the child has been quiet for a moment.
"""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from toril.sandbox import proc
from toril.sandbox.alarm import Alarm
from toril.sandbox.confine import STACK_FD, STACK_SIGNAL

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

MAX_STACK_BYTES = 64 * 1024
"""Longest stack; given: the capacity of a pipe (pipe(7)), the child never waits for us."""

_PATIENCE_S = 1.0
"""How long a child may take to begin; chosen: it may be stopped, or block every signal."""

_QUIET_S = 0.05
"""Silence after which a stack is complete; chosen: it is written in one go, in microseconds."""

_OUR_LINE = re.compile(
    rf'  File "(?:{re.escape(os.path.dirname(__file__))}/[a-z_]+\.py|<frozen runpy>)", '  # noqa: PTH120
    r"line \d+ in .*"
)


class StackReader:
    """Asks one child, reads its answers; several who ask at a time get the same one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int) -> None:
        """`fd`: the read end of the pipe; closed here."""
        self._loop = loop
        self._fd: int | None = fd
        self._inode = os.fstat(fd).st_ino
        self._text = bytearray()
        self._askers: list[Callable[[str], None]] = []
        self._alarm = Alarm(loop)
        os.set_blocking(fd, False)

    def ask(self, pid: int, pidfd: int, callback: Callable[[str], None]) -> None:
        """Call back with the stack within about a second, never at once; empty: not to be had."""
        self._askers.append(callback)
        if len(self._askers) > 1:
            return
        self._read_all()
        self._text.clear()
        if self._fd is None or not self._would_answer(pid):
            self._alarm.set(0, self._finish)
            return
        self._loop.add_reader(self._fd, self._on_readable)
        self._alarm.set(_PATIENCE_S, self._finish)
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, STACK_SIGNAL)

    def close(self) -> None:
        """Close the pipe; whoever waits gets what there is."""
        if self._fd is None:
            return
        self._read_all()
        self._finish()
        os.close(self._fd)
        self._fd = None

    def _would_answer(self, pid: int) -> bool:
        """Whether the signal would do what it is for: it ends a process that does not catch it.

        A processor may have reset it, or put a file of its own where our pipe was.
        """
        try:
            is_ours = os.stat(f"/proc/{pid}/fd/{STACK_FD}").st_ino == self._inode  # noqa: PTH116 - /proc
        except OSError:
            return False
        return is_ours and proc.catches(pid, STACK_SIGNAL)

    def _on_readable(self) -> None:
        self._read_all()
        self._alarm.set(_QUIET_S, self._finish)

    def _read_all(self) -> None:
        while self._fd is not None and len(self._text) < MAX_STACK_BYTES:
            try:
                chunk = os.read(self._fd, MAX_STACK_BYTES - len(self._text))
            except BlockingIOError:
                return
            if not chunk:
                return
            self._text += chunk

    def _finish(self) -> None:
        self._alarm.clear()
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
        text = without_ours(bytes(self._text).decode("utf-8", "replace"))
        askers, self._askers = self._askers, []
        for callback in askers:
            callback(text)


def without_ours(text: str) -> str:
    """What faulthandler wrote, without the lines that lead from our code to the processor."""
    return "\n".join(line for line in text.split("\n") if not is_ours(line))


def is_ours(line: str) -> bool:
    """Whether a line of faulthandler's is a frame of toril's own child."""
    return _OUR_LINE.fullmatch(line) is not None
