"""The child's ends of its sockets: whole frames out, frames in, and the signal that interrupts.

SIGTERM interrupts a running processor: the handler reads the pending CANCEL frame for the reason
and raises. While the main thread is in the middle of a frame the handler only takes a note and the
reader or writer raises when the frame is whole, so that no frame is ever torn. (A signal mask would
not do: the kernel may deliver the signal to another thread, and Python still runs the handler in
the main one.)
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import itertools
import json
import select
import signal
import socket
import struct
import threading
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from toril.errors import Cancelled, Interrupted, SoftTimeout
from toril.sandbox.frames import (
    CHILD_MAXIMA,
    HEADER_BYTES,
    Frame,
    FrameType,
    decode_header,
    encode_header,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SOFT_TIMEOUT = "soft-timeout"
"""The reason after which the processor may still return a result; it is raised once."""

_REASONS: dict[str, type[BaseException]] = {
    SOFT_TIMEOUT: SoftTimeout,
    "timed-out": SoftTimeout,
    "cpu-limit": SoftTimeout,
    "cancelled": Cancelled,
    "interrupted": Interrupted,
}
"""What is raised for a reason that a CANCEL frame gives."""

_LOOK_MS = 50
"""While a reply is waited for, how often it is looked whether somebody else has read it; chosen:
the signal handler, and calls of other threads, read too."""

_MAX_OPEN_CALLS = 16
"""Calls of one attempt that wait for their reply at a time; given: the supervisor takes more for a
flood. Further threads wait for their turn."""

_AHEAD_BYTES = 16 * 1024
"""Read at once when a call is waited for; chosen: header and payload of nearly every call come with
one system call, and what is more is read to its length."""

NUMBER = struct.Struct("<I")
"""In front of CALL and REPLY payloads: which reply belongs to which call."""

_get_ident = threading.get_ident
_set_handler = _signal.signal
_SIGTERM = int(signal.SIGTERM)


class Wire:
    """Frames over one blocking stream socket, and calls that lie ready in another of packets.

    Attributes:
        is_reserved: the next call comes over the stream, whatever lies ready.
        running: user code runs now, so a CANCEL may be raised into it.
        sequence: the call at work; 0 between calls. What belongs to another call is not sent.
        interrupt_task: while a coroutine is at work, what is called with a reason instead of
            raising; else None.
    """

    def __init__(self, fd: int, calls_fd: int) -> None:
        self.is_reserved = False
        self.running = False
        self.sequence = 0
        self.interrupt_task: Callable[[str], None] | None = None
        self._socket = socket.socket(fileno=fd)
        self._send = self._socket.sendall
        self._receive = self._socket.recv_into
        self._receive_some = self._socket.recv
        self._main_thread = _get_ident()
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._is_busy = False
        self._note = False
        self._came_early = False
        self._reason = ""
        self._is_due = False
        self._asked = 0
        self._numbers = itertools.count(1)
        self._replies: dict[int, bytes] = {}
        # A signal handler that reads a reply may give a turn back in the middle of `get`.
        self._turns = _all_turns()
        self._has_asked = False
        self._kept: deque[Frame] = deque()
        self._ahead = b""
        self._calls = socket.socket(fileno=calls_fd)
        self._receive_call = self._calls.recv
        self._either = select.poll()
        self._stream_fd = fd
        for one in (fd, calls_fd):
            self._either.register(one, select.POLLIN)

    def begin(self, sequence: int) -> None:
        """The call `sequence` is at work."""
        self.is_reserved = False
        self._reason, self._is_due = "", False
        if self._has_asked:
            self._has_asked = False
            self._replies.clear()
            self._turns = _all_turns()
        self.sequence = sequence

    def start(self) -> None:
        """User code runs from here; raise what was asked of the call before."""
        self.running = True
        if self._came_early:
            self._came_early = False
            self.check()

    def end(self) -> None:
        """No call is at work."""
        self.sequence = 0

    def send(self, frame_type: FrameType, sequence: int, payload: bytes = b"") -> None:
        """Write one whole frame; nothing when the call `sequence` is over."""
        self.send_together(sequence, [(frame_type, payload)])

    def send_together(self, sequence: int, frames: Sequence[tuple[FrameType, bytes]]) -> None:
        """Write whole frames at once; nothing when the call `sequence` is over."""
        data = b"".join(
            [
                part
                for frame_type, payload in frames
                for part in (encode_header(frame_type, sequence, len(payload)), payload)
            ]
        )
        if _get_ident() != self._main_thread:
            self._write(sequence, data)
            return
        self._is_busy = True
        try:
            self._write(sequence, data)
        finally:
            self._is_busy = False
        if self._note:
            self._note = False
            self._heed()

    def _write(self, sequence: int, data: bytes) -> None:
        with self._write_lock:
            if sequence == self.sequence:
                self._send(data)

    def ready(self) -> Frame | None:
        """The next call if it lies ready."""
        with self._read_lock:
            if self.is_reserved or self._kept or self._ahead:
                return None
            self._ahead = self._take_call()
        return self._frame() if self._ahead else None

    def receive(self) -> Frame | None:
        """The next frame between calls, however long it takes; None when the other end is closed.

        A thread that a job left behind may just have read it in its place, and kept it. Whoever
        gets the lock after this has had it sees that no call is at work, and reads nothing.
        """
        with self._read_lock:
            if self._kept:
                return self._kept.popleft()
        if not self._ahead:
            self._ahead = self._await_call() or self._receive_some(_AHEAD_BYTES)
        return self._frame()

    def _await_call(self) -> bytes:
        """One that is laid ready while we wait; empty where the stream has something to say."""
        while not self.is_reserved:
            if any(fd == self._stream_fd for fd, _ in self._either.poll()):
                return b""
            if call := self._take_call():
                return call
        return b""

    def _take_call(self) -> bytes:
        """One that lies ready; empty where there is none, or it was just taken back."""
        try:
            call = self._receive_call(_AHEAD_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""
        self.is_reserved = not call
        return call

    def _frame(self) -> Frame | None:
        ahead = self._ahead
        if len(ahead) >= HEADER_BYTES:
            frame_type, sequence, length = decode_header(ahead, CHILD_MAXIMA)
            if len(ahead) == HEADER_BYTES + length:
                self._ahead = b""
                return Frame(frame_type, sequence, ahead[HEADER_BYTES:])
        header = self._exactly(HEADER_BYTES)
        if header is None:
            return None
        frame_type, sequence, length = decode_header(header, CHILD_MAXIMA)
        payload = self._exactly(length)
        return None if payload is None else Frame(frame_type, sequence, payload)

    def check(self) -> None:
        """Raise what the supervisor wants of the running call, if it wants something.

        A soft timeout is raised once, by this or by the signal; all else again and again.
        """
        if self.running and (self._is_readable() or self._reason):
            self._read_pending()
            self._raise_reason()

    def call(self, sequence: int, request: bytes) -> bytes:
        """Ask the supervisor and wait for its reply; an interrupt meanwhile is raised.

        Raises:
            RuntimeError: the call `sequence` is over.
        """
        number, asked = next(self._numbers), self._asked
        self._has_asked = True
        while not self._has_turn(sequence):
            self._look(asked)
        self.send(FrameType.CALL, sequence, NUMBER.pack(number) + request)
        readable = select.poll()
        readable.register(self._socket, select.POLLIN)
        while number not in self._replies:
            self._refuse_late(sequence)
            readable.poll(_LOOK_MS)
            self._look(asked)
        return self._replies.pop(number)

    def _has_turn(self, sequence: int) -> bool:
        """Wait a moment for a turn to call; the reply gives it back."""
        self._refuse_late(sequence)
        try:
            self._turns.get(timeout=_LOOK_MS / 1000)
        except Empty:
            return False
        return True

    def _refuse_late(self, sequence: int) -> None:
        if sequence != self.sequence:
            raise RuntimeError("the job is over")

    def _look(self, asked: int) -> None:
        """Read what is there; raise when more is asked of the call than `asked` before."""
        self._read_pending()
        if self._asked != asked:
            self._raise_reason()

    def on_sigterm(self, _signal: int, _stack: object) -> None:
        """Raise what the pending CANCEL frame says, if there is one: now or when the job begins."""
        if self._is_busy:
            self._note = True
        else:
            self._heed()

    def _heed(self) -> None:
        if self.running:
            self._interrupt()
        else:
            self._came_early = True

    def _interrupt(self) -> None:
        """In the main thread: raise what it has not been told yet, or tell its task."""
        self._read_pending()
        if not self._is_due:
            return
        if self.interrupt_task is None:
            self._raise_reason()
        else:
            self.interrupt_task(self._taken_reason())

    def _read_pending(self) -> None:
        """Read what is there already."""
        if _get_ident() != self._main_thread:
            self._read_all()
            return
        while True:
            self._note, self._is_busy = False, True
            try:
                self._read_all()
            finally:
                self._is_busy = False
            if not self._note:
                return

    def _read_all(self) -> None:
        """Between calls, frames are for `receive` alone."""
        with self._read_lock:
            while self.sequence and self._is_readable():
                frame = self._frame()
                self._file(frame)
                if frame is None:
                    return

    def _file(self, frame: Frame | None) -> None:
        if frame is None:
            self._ask("interrupted")
        elif frame.type in {FrameType.JOB, FrameType.STOP}:
            self._kept.append(frame)
        elif frame.sequence != self.sequence:
            return
        elif frame.type is FrameType.CANCEL:
            self._ask(json.loads(frame.payload)["reason"])
        elif frame.type is FrameType.REPLY:
            self._replies[NUMBER.unpack_from(frame.payload)[0]] = frame.payload[NUMBER.size :]
            self._turns.put(None)

    def _ask(self, reason: str) -> None:
        self._reason, self._is_due = reason, True
        self._asked += 1

    def _taken_reason(self) -> str:
        reason = self._reason
        if _get_ident() == self._main_thread:
            self._is_due = False
            if reason == SOFT_TIMEOUT:
                self._reason = ""
        return reason

    def _raise_reason(self) -> None:
        if reason := self._taken_reason():
            raise exception_for(reason)

    def _is_readable(self) -> bool:
        if self._ahead:
            return True
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return True

    def _exactly(self, count: int) -> bytes | None:
        first, self._ahead = self._ahead[:count], self._ahead[count:]
        if len(first) == count:
            return first
        data = bytearray(count)
        data[: len(first)] = first
        view = memoryview(data)[len(first) :]
        while view:
            got = self._receive(view)
            if got == 0:
                return None
            view = view[got:]
        return bytes(data)


def _all_turns() -> SimpleQueue[None]:
    turns: SimpleQueue[None] = SimpleQueue()
    for _ in range(_MAX_OPEN_CALLS):
        turns.put(None)
    return turns


def listen_for_interrupts(wire: Wire) -> None:
    """(Re)install the handler: a processor may have replaced it."""
    # The bare call: the one of `signal` makes an enum of the old handler, which costs 3 us a call.
    _set_handler(_SIGTERM, wire.on_sigterm)


def handler_of(number: int) -> object:
    """What Python calls for a signal; what C code has put in its place is not seen."""
    return _signal.getsignal(number)


def exception_for(reason: str) -> BaseException:
    """What is raised for the reason that a CANCEL frame gives."""
    return _REASONS.get(reason, Interrupted)(reason)
