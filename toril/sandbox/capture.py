"""Reads a child's stdout and stderr pipes on the loop, without letting it set the pace."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

from toril.sandbox.output import STREAMS, Output

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from toril.sandbox.limits import Limits

_READ_BYTES = 64 * 1024
"""One read; given: the capacity of a pipe (pipe(7))."""

_REST_S = 0.005
"""Pause after a read; chosen: a flood costs at most 200 reads a second, and a pipe of 64 KiB still
carries 12 MiB/s. A child that prints faster waits in its write."""


class Capture:
    """Both pipes of one child; what it emits belongs to the attempt begun last.

    Attributes:
        output: of that attempt.
        is_paused: nothing is read in between.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fds: tuple[int, int],
        limits: Limits,
        emit: Callable[[str, list[str]], None],
    ) -> None:
        """Watch the pipes.

        Args:
            loop: the loop that reads.
            fds: read ends of stdout and stderr; closed here.
            limits: what is kept of each attempt, and before the first.
            emit: gets (stream, lines).
        """
        self._loop = loop
        self._fds = dict(zip(STREAMS, fds, strict=True))
        self._emit = emit
        self._limits = limits
        self.is_paused = False
        self._resting: dict[str, asyncio.TimerHandle] = {}
        self.output = self._empty()
        self._ended_s = 0.0
        self._poll = select.poll()
        for stream, fd in self._fds.items():
            os.set_blocking(fd, False)
            loop.add_reader(fd, self._on_readable, stream)
            self._poll.register(fd, select.POLLIN)

    def begin(self) -> None:
        """A new attempt: what is in the pipes belongs to none."""
        if self._loop.time() != self._ended_s:
            self._drain()
        self.renew()

    def renew(self) -> None:
        """A new attempt: from here everything is its own."""
        if not self.output.is_fresh:
            self._finish()
            self.output = self._empty()

    def end(self, *, may_wait: bool = False) -> None:
        """The attempt is over and its child has flushed: emit all there is.

        Args:
            may_wait: while reading is paused nothing is read: what there is belongs to the next.
        """
        if not (may_wait and self.is_paused):
            self._drain()
        self._ended_s = self._loop.time()
        if not self.output.is_fresh:
            self._finish()

    def pause(self) -> None:
        """Read only when an attempt ends, or begins."""
        if self.is_paused:
            return
        self.is_paused = True
        for stream, fd in self._fds.items():
            if (rest := self._resting.pop(stream, None)) is not None:
                rest.cancel()
            else:
                self._loop.remove_reader(fd)

    def resume(self) -> None:
        """Read whenever there is something."""
        if not self.is_paused:
            return
        self.is_paused = False
        for stream, fd in self._fds.items():
            self._loop.add_reader(fd, self._on_readable, stream)

    def close(self) -> None:
        """Emit what is left and close the pipes."""
        self.end()
        for stream in list(self._fds):
            self._close(stream)

    def _empty(self) -> Output:
        return Output(self._limits.output_bytes, self._limits.log_lines)

    def _on_readable(self, stream: str) -> None:
        if self._read(stream):
            self._loop.remove_reader(self._fds[stream])
            self._resting[stream] = self._loop.call_later(_REST_S, self._resume, stream)

    def _resume(self, stream: str) -> None:
        del self._resting[stream]
        self._loop.add_reader(self._fds[stream], self._on_readable, stream)

    def _drain(self) -> None:
        """Mostly both are empty, which one system call tells."""
        if self._poll.poll(0):
            for stream in list(self._fds):
                self._read(stream)

    def _read(self, stream: str) -> bool:
        """Read once; False when there was nothing, or the pipe is closed now."""
        try:
            chunk = os.read(self._fds[stream], _READ_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            self._close(stream)
            return False
        if lines := self.output.feed(stream, chunk):
            self._emit(stream, lines)
        return True

    def _finish(self) -> None:
        for stream, line in self.output.finish():
            self._emit(stream, [line])

    def _close(self, stream: str) -> None:
        fd = self._fds.pop(stream)
        if (rest := self._resting.pop(stream, None)) is not None:
            rest.cancel()
        self._loop.remove_reader(fd)
        self._poll.unregister(fd)
        os.close(fd)
