"""The supervisor's end of a child's data socket.

Only plain reads: descriptors that a child sends along are dropped by the kernel. Nothing here
decides what a frame means.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, cast

from toril.errors import ProtocolError
from toril.sandbox.frames import Frame, FrameReader, FrameType, encode_header, supervisor_maxima

if TYPE_CHECKING:
    import socket

_FRAMES_PER_TURN = 256
"""Frames in one read after which reading rests; chosen: no processor means to say so much."""

_REST_S = 0.005
"""Pause after that; chosen: a flood of frames gets less than half of the loop."""

_DRAIN_SLACK_BYTES = 256 * 1024
"""What a drain reads beyond the largest result; given: a socket buffer (net.core.wmem_default)."""


_DRAIN_FRAMES = 2048
"""Frames after which a drain gives up; chosen: a socket buffer holds fewer than 300 frames that
were written one by one, as a child writes them; only a flood has more."""


class Owner(Protocol):
    """Who hears what a child says."""

    def on_frame(self, frame: Frame) -> None:
        """One whole frame. Raises ProtocolError when it breaks a rule."""

    def on_turn(self) -> None:
        """All frames that were read together have been handed over."""

    def on_broken(self, rule: str) -> None:
        """The child broke a rule; nothing more will be read."""

    def on_hangup(self) -> None:
        """The child's end is closed and everything it sent has been handed over."""

    def on_written(self) -> None:
        """Everything that was held back has left."""


class Channel(asyncio.BufferedProtocol):
    """Frames over one end of a stream socketpair."""

    def __init__(self, sock: socket.socket, result_bytes: int, owner: Owner) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._owner = owner
        self._reader = FrameReader(supervisor_maxima(result_bytes))
        self._drain_bytes = result_bytes + _DRAIN_SLACK_BYTES
        self._transport: asyncio.Transport | None = None
        self._opening: asyncio.Task[object] | None = None
        self._is_reading = False
        self._is_closed = False
        self._frames = 0
        self._rest: asyncio.TimerHandle | None = None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to read."""
        self._loop = loop
        opening = loop.create_unix_connection(lambda: self, sock=self._socket)
        self._opening = loop.create_task(opening)

    def send(self, frame_type: FrameType, sequence: int, *parts: bytes) -> bool:
        """Send one frame, at once if the socket takes it; False when the child's end is closed."""
        if self._transport is None or self._is_closed:
            return False
        size = sum(map(len, parts))
        frame = b"".join((encode_header(frame_type, sequence, size), *parts))
        sent = 0
        if self._transport.get_write_buffer_size() == 0:
            try:
                sent = self._socket.send(frame)
            except BlockingIOError:
                sent = 0
            except OSError:
                return False
        if sent < len(frame):
            self._transport.write(memoryview(frame)[sent:])
        return True

    def has_unsent(self) -> bool:
        """Whether a part of a frame still waits for the child to read."""
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def drain(self) -> bool:
        """Hand over what the child has sent so far: to the end, or one maximum frame.

        A child may have said its last words before the transport is there. False in the middle of
        handing over: the rest follows.
        """
        if self._opening is None or self._is_reading:
            return not self._is_reading
        left, self._frames = self._drain_bytes, 0
        while left > 0 and self._frames < _DRAIN_FRAMES and not self._is_closed:
            try:
                count = self._socket.recv_into(self._reader.buffer())
            except OSError:
                break
            if count == 0:
                break
            left -= count
            self._take(count)
        return True

    def close(self) -> None:
        """Stop reading and close; what was not read is forgotten."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._rest is not None:
            self._rest.cancel()
        if self._opening is None:
            self._socket.close()
        elif self._opening.done():
            self._end(self._opening)
        else:
            # Not before: uvloop would close the descriptor once more, when its number is another's.
            self._opening.add_done_callback(self._end)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of BufferedProtocol."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=0)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - part of BufferedProtocol
        """Part of BufferedProtocol."""
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Part of BufferedProtocol."""
        if self._is_closed:
            return
        self._frames = 0
        self._take(nbytes)
        if self._frames > _FRAMES_PER_TURN and not self._is_closed:
            self._pause()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as above
        """Part of BufferedProtocol; a reset is an end like any other."""
        was_closed, self._is_closed = self._is_closed, True
        if not was_closed:
            self._owner.on_hangup()

    def resume_writing(self) -> None:
        """Part of BufferedProtocol."""
        if not self._is_closed:
            self._owner.on_written()

    def _end(self, _opening: object) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _take(self, count: int) -> None:
        self._is_reading = True
        try:
            for frame in self._reader.filled(count):
                self._frames += 1
                self._owner.on_frame(frame)
                if self._is_closed:
                    return
        except ProtocolError as error:
            self._owner.on_broken(error.rule)
            return
        finally:
            self._is_reading = False
        self._owner.on_turn()

    def _pause(self) -> None:
        if self._transport is not None and self._rest is None:
            self._transport.pause_reading()
            self._rest = self._loop.call_later(_REST_S, self._resume)

    def _resume(self) -> None:
        self._rest = None
        if self._transport is not None and not self._is_closed:
            with suppress(RuntimeError):
                self._transport.resume_reading()
