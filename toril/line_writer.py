"""Lines to a stream without ever waiting for its reader: bounded, drained by one daemon thread.

A change must keep: `write` does no I/O. Whoever calls it renews locks, and a log reader that
stopped reading must not cost a job. The stream's own flags are left alone: standard error is
shared with other processes.
"""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_WAITING_BYTES = 4 * 1024 * 1024
"""Lines that may wait for the reader; chosen: seconds of a busy log, little beside a child."""

MAX_MINOR_BYTES = MAX_WAITING_BYTES // 2
"""Above this, minor lines are dropped and the rest is kept; chosen."""

CLOSE_S = 1.0
"""Longest wait for the reader at the end; chosen: a stop must not hang on a log."""


class LineWriter:
    """Takes lines, and writes them from a thread of its own that the first line starts.

    Args:
        stream: where lines go. One with a file descriptor is written to below its own buffer,
            so that nothing of a blocked write is left for the interpreter's exit to flush.
        dropped: the line that tells how many were dropped; written once the reader reads again.
    """

    def __init__(self, stream: TextIO, dropped: Callable[[int], str]) -> None:
        self._write_out = _writer(stream)
        self._dropped_line = dropped
        self._changed = threading.Condition()
        self._lines: list[bytes] = []
        self._waiting_bytes = 0
        self._dropped = 0
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def write(self, line: str, *, is_minor: bool = False) -> None:
        """Hand one line over; it is dropped and counted when too much waits already.

        Args:
            line: without its line end.
            is_minor: drop it first.
        """
        data = line.encode(errors="backslashreplace") + b"\n"
        room = MAX_MINOR_BYTES if is_minor else MAX_WAITING_BYTES
        with self._changed:
            if self._is_closed:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._drain, name="log", daemon=True)
                self._thread.start()
            if self._waiting_bytes + len(data) > room:
                self._dropped += 1
                return
            self._lines.append(data)
            self._waiting_bytes += len(data)
            self._changed.notify()

    def close(self) -> None:
        """Write what waits, for at most `CLOSE_S`; further lines are forgotten."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_S)

    def _drain(self) -> None:
        while lines := self._take():
            try:
                for chunk in _chunks(lines):
                    self._write_out(chunk)
            except (OSError, ValueError):
                # The reader is gone for good (closed pipe): that silences the log, not the work.
                with self._changed:
                    self._is_closed = True
                    self._lines.clear()
                return

    def _take(self) -> list[bytes]:
        """Everything that waits, and the count of what was dropped behind it; empty at the end."""
        with self._changed:
            while not (self._lines or self._dropped or self._is_closed):
                self._changed.wait()
            lines, self._lines, self._waiting_bytes = self._lines, [], 0
            dropped, self._dropped = self._dropped, 0
        if dropped:
            lines.append(self._dropped_line(dropped).encode() + b"\n")
        return lines


def _chunks(lines: list[bytes]) -> Iterator[bytes]:
    """Whole lines in pieces that a pipe takes at once: other processes may write to it too."""
    chunk = b""
    for line in lines:
        if chunk and len(chunk) + len(line) > select.PIPE_BUF:
            yield chunk
            chunk = b""
        chunk += line
    yield chunk


def _writer(stream: TextIO) -> Callable[[bytes], None]:
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):

        def to_stream(data: bytes) -> None:
            stream.write(data.decode())
            stream.flush()

        return to_stream
    return lambda data: _write_all(descriptor, data)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        # Whoever shares the stream may have made it non-blocking.
        with suppress(BlockingIOError):
            rest = rest[os.write(descriptor, rest) :]
            continue
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        poll.poll()
