"""Lines without ever waiting for their reader: bounded, drained by one daemon thread.

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
    from collections.abc import Callable, Iterator, Sequence

MAX_WAITING_BYTES = 4 * 1024 * 1024
"""Lines that may wait for the reader; chosen: seconds of a busy log, little beside a child."""

MAX_MINOR_BYTES = MAX_WAITING_BYTES // 2
"""Above this, minor lines are dropped and the rest is kept; chosen."""

CLOSE_S = 1.0
"""Longest wait for the reader at the end; chosen: a stop must not hang on a log."""

LINGER_S = 0.02
"""Between two writes; chosen: nobody sees it, and a busy log costs one wake-up for many lines."""

GATHERED_BYTES = 64 * 1024
"""Lines that are written at once, whatever time it is; given: what a pipe holds."""

_NEVER = 2**63


class LineWriter:
    """Takes lines, and writes them from a thread of its own that the first line starts.

    Args:
        write_out: writes whole lines; may wait. What it raises silences the log.
        dropped: the line that tells how many were dropped; written once the reader reads again.
    """

    def __init__(
        self, write_out: Callable[[Sequence[bytes]], None], dropped: Callable[[int], bytes]
    ) -> None:
        self._write_out = write_out
        self._dropped_line = dropped
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._wake_bytes = _NEVER
        self._lines: list[bytes] = []
        self._waiting_bytes = 0
        self._dropped = 0
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def write(self, data: bytes, *, is_minor: bool = False) -> None:
        """Hand one line over; it is dropped and counted when too much waits already.

        Args:
            data: with its line end.
            is_minor: drop it first.
        """
        room = MAX_MINOR_BYTES if is_minor else MAX_WAITING_BYTES
        with self._lock:
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
            if self._waiting_bytes >= self._wake_bytes:
                self._wake_bytes = _NEVER
                self._changed.notify()

    def close(self) -> None:
        """Write what waits, for at most `CLOSE_S`; further lines are forgotten."""
        with self._lock:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_S)

    def _drain(self) -> None:
        while lines := self._take():
            try:
                self._write_out(lines)
            except (OSError, ValueError):
                # The reader is gone for good (closed pipe): that silences the log, not the work.
                with self._lock:
                    self._is_closed = True
                    self._lines.clear()
                return
            self._linger()

    def _linger(self) -> None:
        """Let lines gather, up to a time and an amount."""
        with self._lock:
            if not self._is_closed and self._waiting_bytes < GATHERED_BYTES:
                self._wake_bytes = GATHERED_BYTES
                self._changed.wait(LINGER_S)

    def _take(self) -> list[bytes]:
        """Everything that waits, and the count of what was dropped behind it; empty at the end."""
        with self._lock:
            while not (self._lines or self._dropped or self._is_closed):
                self._wake_bytes = 1
                self._changed.wait()
            self._wake_bytes = _NEVER
            lines, self._lines, self._waiting_bytes = self._lines, [], 0
            dropped, self._dropped = self._dropped, 0
        if dropped:
            lines.append(self._dropped_line(dropped))
        return lines


def to_stream(stream: TextIO) -> Callable[[Sequence[bytes]], None]:
    """A function that writes lines to a stream.

    One with a file descriptor is written to below its own buffer, so that nothing of a blocked
    write is left for the interpreter's exit to flush.
    """
    write_out = _writer(stream)

    def write(lines: Sequence[bytes]) -> None:
        for chunk in _chunks(lines):
            write_out(chunk)

    return write


def _chunks(lines: Sequence[bytes]) -> Iterator[bytes]:
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
