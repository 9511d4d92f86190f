"""The child's end of the data socket: whole frames out, frames in, and the signal that interrupts.

SIGTERM interrupts a running processor: the handler reads the pending CANCEL frame for the reason
and raises. While the main thread writes a frame the handler only takes a note and the writer raises
when the frame is whole, so that no frame is ever torn. (A signal mask would not do: the kernel may
deliver the signal to another thread, and Python still runs the handler in the main one.)
"""

from __future__ import annotations

import json
import signal
import socket
import threading
from typing import NoReturn

from toril.errors import Cancelled, Interrupted, SoftTimeout
from toril.sandbox.frames import (
    CHILD_MAXIMA,
    HEADER_BYTES,
    Frame,
    FrameType,
    decode_header,
    encode,
)

_REASONS: dict[str, type[BaseException]] = {"timed-out": SoftTimeout, "cancelled": Cancelled}
_get_ident = threading.get_ident


class Wire:
    """Frames over one blocking stream socket.

    Attributes:
        running: user code runs now, so a CANCEL may be raised into it.
        sequence: the call at work; 0 between calls. What belongs to another call is not sent.
    """

    def __init__(self, fd: int) -> None:
        self.running = False
        self.sequence = 0
        self._socket = socket.socket(fileno=fd)
        self._send = self._socket.sendall
        self._receive = self._socket.recv_into
        self._main_thread = _get_ident()
        self._lock = threading.Lock()
        self._writing = False
        self._note = False

    def send(self, frame_type: FrameType, sequence: int, payload: bytes = b"") -> None:
        """Write one whole frame; nothing when the call `sequence` is over."""
        if _get_ident() != self._main_thread:
            self._locked_send(frame_type, sequence, payload)
            return
        self._writing = True
        try:
            self._locked_send(frame_type, sequence, payload)
        finally:
            self._writing = False
        if self._note:
            self._note = False
            self._raise_pending()

    def receive(self) -> Frame | None:
        """The next frame, however long it takes; None when the supervisor's end is closed."""
        header = self._exactly(HEADER_BYTES)
        if header is None:
            return None
        frame_type, sequence, length = decode_header(header, CHILD_MAXIMA)
        payload = self._exactly(length)
        return None if payload is None else Frame(frame_type, sequence, payload)

    def on_sigterm(self, _signal: int, _stack: object) -> None:
        """Raise what the pending CANCEL frame says; without one, or between calls, do nothing."""
        if self._writing:
            self._note = True
        elif self.running:
            self._raise_pending()

    def _locked_send(self, frame_type: FrameType, sequence: int, payload: bytes) -> None:
        with self._lock:
            if sequence == self.sequence:
                self._send(encode(frame_type, sequence, payload))

    def _raise_pending(self) -> None:
        while self.running and self._is_readable():
            frame = self.receive()
            if frame is None:
                _raise("interrupted")
            if frame.type is FrameType.CANCEL and frame.sequence == self.sequence:
                _raise(json.loads(frame.payload)["reason"])

    def _is_readable(self) -> bool:
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return True

    def _exactly(self, count: int) -> bytes | None:
        data = bytearray(count)
        view = memoryview(data)
        while view:
            got = self._receive(view)
            if got == 0:
                return None
            view = view[got:]
        return bytes(data)


def listen_for_interrupts(wire: Wire) -> None:
    """(Re)install the handler: a processor may have replaced it."""
    signal.signal(signal.SIGTERM, wire.on_sigterm)


def _raise(reason: str) -> NoReturn:
    raise _REASONS.get(reason, Interrupted)(reason)
