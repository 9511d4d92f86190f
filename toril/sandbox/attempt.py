"""One call in one child, as the supervisor holds it: what was said of it, and what it comes to."""

from __future__ import annotations

import json
import os
import signal
import struct
import time
from typing import TYPE_CHECKING, ClassVar

import msgspec
from msgspec.structs import replace

from toril.call import Outcome, Usage, Verdict
from toril.errors import ProtocolError, TorilError
from toril.sandbox import outcomes
from toril.sandbox.frames import USAGE, FrameType, encode_header
from toril.sandbox.outcomes import Fault
from toril.sandbox.record import Record
from toril.sandbox.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from toril.call import Call
    from toril.sandbox.frames import Frame
    from toril.sandbox.handle import Child
    from toril.sandbox.outcomes import Detail

_MAX_OPEN_CALLS = 16
"""Calls of one attempt that wait for their reply at most; chosen: a child's threads call one by
one, more of them at a time is a flood."""

_SEQUENCE = struct.Struct("<Q")
"""The number of a call; given: its field in the header, too many numbers to be guessed."""

_NUMBERS_AHEAD = 64
"""Drawn at a time; chosen: a system call for each costs as much as the rest of a frame."""

_LENGTH = struct.Struct("<I")
_NUMBER = struct.Struct("<I")

_STAGED = frozenset(
    {Verdict.CANCELLED, Verdict.TIMED_OUT, Verdict.INTERRUPTED, Verdict.CPU_LIMIT},
)
"""Verdicts whose detail says at which stage the attempt gave way."""


class _Request(msgspec.Struct):
    method: str
    payload: msgspec.Raw


_request_decoder = msgspec.json.Decoder(_Request)


class Attempt:
    """From JOB to the outcome; `take` gets every frame of it.

    `detail["stage"]` of an attempt that had to be stopped says what did it. The signal is how the
    exception gets into the processor, so there are not more ways than these: `exception` (the
    processor ended by itself in the grace, whether it caught the exception or not), `sigterm` (its
    process ended by the signal in the grace: the processor had put the default in place of the
    handler), `died` (its process ended in the grace in another way, which `signal` or `exit_code`
    tells), `sigkill` (the grace went by: it caught everything, blocked the signal, or was in C
    code; or it was killed at once).

    Attributes:
        call: what runs.
        sequence: its number, which nobody in the child can know before it begins: what a thread of
            an earlier job says beforehand is not taken for this one's.
        is_last: the child leaves after it.
        is_streamed: it has come over the data socket.
        has_printed: when it was over its output had not been read.
        was_warned: its soft timeout is over.
        stack: its Python stack when most of its time was up; empty before.
    """

    def __init__(self, child: Child, call: Call) -> None:
        self.call = call
        self.sequence = _new_sequence()
        self.is_last = False
        self.is_streamed = False
        self.has_printed = False
        self.was_warned = False
        self.stack = ""
        self._child = child
        self._is_over = False
        self._owes_signal = False
        self._open_calls = 0
        self._peak_bytes: int | None = None
        self._asked_at_s: float | None = None

    def start(self) -> None:
        """It is at work: its deadlines count from now."""
        meter = self._child.process.meter
        if meter is None:
            raise AssertionError("a child that was READY has a meter")
        meter.start()
        self._child.process.watch.begin(self)

    def send(self) -> bool:
        """Send JOB over the data socket; False when the child does not listen."""
        self.is_streamed = True
        length = _LENGTH.pack(len(self.call.header))
        return self._send(FrameType.JOB, length, self.call.header, self.call.data)

    def packet(self) -> bytes:
        """JOB in one piece, for where calls lie ready."""
        header, data = self.call.header, self.call.data
        size = _LENGTH.size + len(header) + len(data)
        frame = encode_header(FrameType.JOB, self.sequence, size)
        return b"".join((frame, _LENGTH.pack(len(header)), header, data))

    def warn(self) -> None:
        """Raise SoftTimeout in the processor."""
        self.was_warned = True
        self._interrupt("soft-timeout")

    def stop(self, verdict: Verdict) -> None:
        """Raise what the verdict calls for in the processor."""
        self.asked_to_stop()
        self._interrupt(verdict.value)

    def on_written(self) -> None:
        """A CANCEL that was held back has left: now the signal finds it."""
        if self._owes_signal:
            self._owes_signal = False
            self._child.process.signal(signal.SIGTERM)

    def asked_to_stop(self) -> None:
        """Somebody wants it to end: from here its stages are timed."""
        self._asked_at_s = self._asked_at_s or time.monotonic()

    def take(self, frame: Frame) -> Outcome | None:
        """Hear one frame; the outcome when it is the last one.

        Raises:
            ProtocolError: it breaks a rule.
        """
        return self._FRAMES[frame.type](self, frame.payload)

    def last_words(self, fault: Fault | None) -> Outcome:
        """The outcome of a call whose child is gone; `fault`: why it had to end, if it had.

        A crash explains a closed socket.
        """
        process = self._child.process
        was_dying = process.death.signal not in {None, signal.SIGKILL}
        if fault is not None and fault.verdict is Verdict.DISCONNECTED and was_dying:
            fault = None
        detail: Detail = {}
        if tail := process.capture.output.stderr_tail:
            detail["stderr"] = tail
        if fault is None:
            detail |= self._place()
            if process.death.was_out_of_memory:
                detail |= {"limit_bytes": self._child.limits.memory_bytes or 0, "by": "cgroup"}
            return outcomes.died(process.death, usage=self._usage(), detail=detail)
        outcome = self._ended(fault, self._last_stage(detail), detail)
        if fault.verdict is Verdict.TIMED_OUT and self.stack:
            outcome = replace(outcome, stack=f"Python stack at 80 % of its time:\n{self.stack}")
        return outcome

    def _last_stage(self, detail: Detail) -> str:
        """What ended a process that had to stop; a death of another kind is put into the detail."""
        process = self._child.process
        if process.was_killed:
            return "sigkill"
        if process.death.signal == signal.SIGTERM:
            return "sigterm"
        detail |= outcomes.manner(process.death)
        return "died"

    def close(self) -> None:
        """It has its outcome: what is replied to its calls from now on is forgotten."""
        self._is_over = True
        self._child.process.watch.end()

    # What the watch tells.

    def on_soft_timeout(self) -> None:
        """Part of `watch.Watched`."""
        self._child.warn(self)

    def on_nearly_late(self) -> None:
        """Part of `watch.Watched`."""
        self._child.ask_stack(self._keep_stack)

    def on_deadline(self) -> None:
        """Part of `watch.Watched`."""
        self._child.stop_for(Fault(Verdict.TIMED_OUT), self)

    def on_over_cpu(self, cpu_ms: float) -> None:
        """Part of `watch.Watched`."""
        self._child.stop_for(outcomes.over_cpu(self._child.limits, cpu_ms), self)

    def _keep_stack(self, text: str) -> None:
        if text and not self._is_over:
            self.stack = text
            self._child.tell(self._child.listener.on_stack, self.call, text)

    # What the child says.

    def _on_progress(self, payload: bytes) -> None:
        _check_flat("progress", payload)
        self._child.tell(self._child.listener.on_progress, self.call, payload)

    def _on_update_data(self, payload: bytes) -> None:
        _check_flat("job data", payload)
        self._child.tell(self._child.listener.on_update_data, self.call, payload)

    def _on_checkpoint(self, payload: bytes) -> None:
        outcomes.check_json("checkpoint", payload)
        self._child.tell(self._child.listener.on_checkpoint, self.call, payload)

    def _on_log(self, payload: bytes) -> None:
        text = payload.decode("utf-8", "replace")
        if self._child.process.capture.output.admit(len(payload), text.count("\n") + 1):
            self._child.tell(self._child.listener.on_log, self.call, "log", [text])

    def _on_record(self, payload: bytes) -> None:
        record = Record.decode(payload)
        if self._child.process.capture.output.admit(len(payload), record.text.count("\n") + 1):
            self._child.tell(self._child.listener.on_record, self.call, record)

    def _on_call(self, payload: bytes) -> None:
        if len(payload) < _NUMBER.size:
            raise ProtocolError("CALL frame is malformed")
        number, text = payload[: _NUMBER.size], payload[_NUMBER.size :]
        self._open_calls += 1
        if self._open_calls > _MAX_OPEN_CALLS:
            raise ProtocolError(f"more than {_MAX_OPEN_CALLS} calls wait for their reply")
        reply = Reply(lambda answer: self._send_reply(number, answer))
        try:
            outcomes.check_json("call", text)
            request = _request_decoder.decode(text)
        except RecursionError:
            reply.refuse(TorilError("it is nested too deeply"))
            return
        except ValueError:
            raise ProtocolError("CALL frame is malformed") from None
        self._child.tell(
            self._child.listener.on_call, self.call, request.method, bytes(request.payload), reply
        )

    def _interrupt(self, reason: str) -> None:
        self._send(FrameType.CANCEL, json.dumps({"reason": reason}).encode())
        self._owes_signal = True
        if not self._child.process.channel.has_unsent():
            self.on_written()

    def _send(self, frame_type: FrameType, *parts: bytes) -> bool:
        return self._child.process.channel.send(frame_type, self.sequence, *parts)

    def _send_reply(self, number: bytes, answer: bytes) -> None:
        if not self._is_over:
            self._open_calls -= 1
            self._send(FrameType.REPLY, number, answer)

    def _on_last(self, _: bytes) -> None:
        self.is_last = True

    def _on_usage(self, payload: bytes) -> None:
        if len(payload) != USAGE.size:
            raise ProtocolError("USAGE frame is malformed")
        peak_bytes, self.has_printed = USAGE.unpack(payload)
        # Redis' JSON numbers are doubles; no machine has as much memory as they hold exactly.
        self._peak_bytes = min(peak_bytes, 2**53 - 1) or None

    def _on_result(self, payload: bytes) -> Outcome:
        fault = self._child.fault
        if fault is None or fault.verdict is Verdict.INTERRUPTED:
            return outcomes.returned(payload, self._usage(), self._place())
        outcomes.returned(payload)
        return self._ended(fault, "exception", {})

    def _on_error(self, payload: bytes) -> Outcome:
        outcome, fault = outcomes.failed(payload), self._child.fault
        if fault is not None:
            return replace(self._ended(fault, "exception", {}), stack=outcome.stack)
        left_by = outcome.error_name if outcome.verdict is Verdict.PROCESSOR_EXIT else ""
        if self.was_warned and left_by == "SoftTimeout":
            outcome = outcomes.softly_timed_out(outcome, self._child.limits, self._usage())
            return replace(outcome, detail={**outcome.detail, **self._place()})
        detail = {**outcome.detail, **self._place()}
        return replace(outcome, usage=self._usage(), detail=detail)

    def _ended(self, fault: Fault, stage: str, detail: Detail) -> Outcome:
        if fault.verdict in _STAGED:
            detail["stage"] = stage
        if fault.verdict is Verdict.CANCELLED and self._asked_at_s is not None:
            detail["cancel_ms"] = round((time.monotonic() - self._asked_at_s) * 1000)
        return outcomes.ended(
            fault, limits=self._child.limits, usage=self._usage(), detail=detail | self._place()
        )

    def _place(self) -> Detail:
        return {} if self._child.pid is None else {"pid": self._child.pid}

    def _usage(self) -> Usage:
        return self._child.measure(self._peak_bytes)

    _FRAMES: ClassVar[Mapping[FrameType, Callable[[Attempt, bytes], Outcome | None]]] = {
        FrameType.PROGRESS: _on_progress,
        FrameType.UPDATE_DATA: _on_update_data,
        FrameType.CHECKPOINT: _on_checkpoint,
        FrameType.LOG: _on_log,
        FrameType.RECORD: _on_record,
        FrameType.CALL: _on_call,
        FrameType.LAST: _on_last,
        FrameType.USAGE: _on_usage,
        FrameType.RESULT: _on_result,
        FrameType.ERROR: _on_error,
    }


def _unforeseen() -> Iterator[int]:
    """Numbers that cannot be foretold; never 0, which is no call's."""
    while True:
        for (number,) in _SEQUENCE.iter_unpack(os.urandom(_NUMBERS_AHEAD * _SEQUENCE.size)):
            yield number or 1


_new_sequence = _unforeseen().__next__


def _check_flat(what: str, payload: bytes) -> None:
    """Check that text is JSON; what is nested too deeply to be checked breaks a rule as well.

    Raises:
        ProtocolError: it is not JSON, or too deep.
    """
    try:
        outcomes.check_json(what, payload)
    except RecursionError:
        raise ProtocolError(f"{what} is nested too deeply") from None
