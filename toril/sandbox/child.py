"""A child: it takes calls from fd 3, runs the processor, and says what came of it.

What the loop needs is bound before any user code runs, and what a processor can easily have
changed is put back after each call. It leaves by `os._exit`: no exit handler, no joined thread.
"""

# ruff: noqa: PTH120 - no pathlib where children are made

from __future__ import annotations

import builtins
import json
import os
import struct
import sys
import threading
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import setproctitle

from toril.errors import Unrecoverable
from toril.sandbox import confine
from toril.sandbox.frames import MAX_ERROR_BYTES, Frame, FrameType, encode
from toril.sandbox.job import SandboxedJob, UnreadableJob
from toril.sandbox.processor import Processor, missing_variable, variable_remedy
from toril.sandbox.text import clean, clean_end, to_json
from toril.sandbox.wire import Wire, listen_for_interrupts
from toril.units import format_bytes

if TYPE_CHECKING:
    from toril.sandbox.confine import Plan

CONFINEMENT_FAILED = 70
"""Exit code of a child that could not be set up (EX_SOFTWARE)."""

_MAX_MESSAGE_BYTES = 2048
_MAX_STACK_BYTES = 32 * 1024
_MAX_TITLE_NAME = 64
_HEADER_LENGTH = struct.Struct("<I")
_OUR_FRAMES = os.path.dirname(__file__)

_exit = os._exit
_chdir, _umask = os.chdir, os.umask
_active_threads = threading.active_count
_set_title = setproctitle.setproctitle
_restore_builtins = builtins.__dict__.update


@dataclass(frozen=True, slots=True)
class _End:
    """How a call ended: a frame to send, and why the child should not be used again, if so."""

    type: FrameType
    payload: bytes
    leaves: str = ""


def main(plan: Plan, processor: Processor) -> NoReturn:
    """Become a child and serve calls until told to stop; never returns."""
    step = ""
    try:
        for step, act in confine.steps(plan):  # noqa: B007 - the name is for the fault's report
            act()
        step = "data socket"
        child = _Child(plan, processor, Wire(confine.DATA_FD))
    except BaseException as error:  # noqa: BLE001 - a wall: a child half set up must not run on
        _fault(plan, step, error)
    try:
        child.serve()
    finally:
        _exit(CONFINEMENT_FAILED)


def _fault(plan: Plan, step: str, error: BaseException) -> NoReturn:
    try:
        report = {"step": step, "error": clean(f"{type(error).__name__}: {error}", 300)}
        frame = encode(FrameType.FAULT, 0, json.dumps(report).encode())
        os.write(plan.data_fd if step == "file descriptors" else confine.DATA_FD, frame)
    finally:
        _exit(CONFINEMENT_FAILED)


class _Child:
    def __init__(self, plan: Plan, processor: Processor, wire: Wire) -> None:
        self._plan = plan
        self._processor = processor
        self._wire = wire
        self._threads = _active_threads()
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self._builtin_names = dict(builtins.__dict__)
        listen_for_interrupts(wire)

    def serve(self) -> NoReturn:
        """READY, then call after call."""
        self._wire.send(FrameType.READY, 0)
        while True:
            frame = self._wire.receive()
            if frame is None or frame.type is FrameType.STOP:
                _exit(0)
            if frame.type is FrameType.JOB:
                self._attempt(frame)

    def _attempt(self, frame: Frame) -> None:
        wire, sequence = self._wire, frame.sequence
        wire.sequence = sequence
        end = self._end_of(frame)
        self._restore()
        leaves = end.leaves or self._left_behind()
        if leaves:
            wire.send(FrameType.LAST, sequence, leaves.encode())
        wire.send(end.type, sequence, end.payload)
        wire.sequence = 0
        if leaves:
            _exit(0)
        _set_title(self._plan.title)

    def _end_of(self, frame: Frame) -> _End:
        try:
            size = _HEADER_LENGTH.unpack_from(frame.payload)[0] + _HEADER_LENGTH.size
            header, data = frame.payload[_HEADER_LENGTH.size : size], frame.payload[size:]
            job = SandboxedJob(header, data, self._wire, frame.sequence)
            function = self._processor.find(job.name)
        except Exception as error:  # noqa: BLE001 - a wall: what cannot be started is an outcome
            return _failure("raised", error)
        name = "".join(one for one in job.name[:_MAX_TITLE_NAME] if one.isprintable())
        _set_title(f"{self._plan.title} {name}")
        end = self._run(function, job)
        job.flush()
        return end

    def _run(self, function: Any, job: SandboxedJob) -> _End:
        """Call the processor; `running` is true exactly while an interrupt may be raised."""
        wire, has_returned = self._wire, False
        try:
            wire.running = True
            value = function(job)
            _restore_builtins(self._builtin_names)
            has_returned = True
            payload = to_json(value)
            wire.running = False
        except BaseException as error:  # noqa: BLE001 - the wall: every way to fail is an outcome
            wire.running = False
            _restore_builtins(self._builtin_names)
            return self._ended_by(error, has_returned=has_returned)
        limit = self._plan.limits.result_bytes
        if len(payload) > limit:
            return _error(
                "result-too-large",
                "ResultTooLarge",
                f"result is {format_bytes(len(payload))}, over the limit of {format_bytes(limit)}",
            )
        return _End(FrameType.RESULT, payload)

    def _ended_by(self, error: BaseException, *, has_returned: bool) -> _End:
        match error:
            case MemoryError():
                return self._out_of_memory(error)
            case Unrecoverable():
                return _failure("unrecoverable", error)
            case UnreadableJob():
                return _failure("unreadable", error)
            case Exception() if has_returned:
                return _error(
                    "result-invalid",
                    type(error).__name__,
                    f"result is not JSON: {_said(error)} (expected null, booleans, numbers, text, "
                    "lists, and dicts with text keys)",
                )
            case Exception():
                return _failure("raised", error)
            case _:
                name = type(error).__name__
                message = f"the processor left by {name}: {_said(error)}"
                return _error("processor-exit", name, message, _stack(error), leaves=name)

    def _out_of_memory(self, error: MemoryError) -> _End:
        limit = self._plan.limits.memory_bytes
        under = f" under a memory limit of {format_bytes(limit)}" if limit else ""
        said = _said(error)
        message = f"MemoryError{under}" + (f": {said}" if said != "MemoryError" else "")
        stack = _stack(error)
        return _error("memory-error", "MemoryError", message, stack, leaves="out of memory")

    def _restore(self) -> None:
        """Put back what a processor can easily have changed, whatever it has done to it."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BaseException:  # noqa: BLE001, S112 - a wall: the stream may be anything
                continue
        sys.stdin, sys.stdout, sys.stderr = self._streams
        if sys.stdout.closed or sys.stderr.closed:
            confine.open_streams()
            self._streams = (sys.stdin, sys.stdout, sys.stderr)
        _chdir(self._plan.working_directory)
        _umask(0o077)
        listen_for_interrupts(self._wire)

    def _left_behind(self) -> str:
        count = _active_threads() - self._threads
        return f"{count} threads left running" if count > 0 else ""


def _failure(kind: str, error: BaseException) -> _End:
    message = _said(error)
    if (variable := missing_variable(error)) is not None:
        message = f"{message} is not in the environment. {variable_remedy(variable)}"
    return _error(kind, type(error).__name__, message, _stack(error))


def _error(kind: str, name: str, message: str, stack: str = "", *, leaves: str = "") -> _End:
    texts = {
        "kind": kind,
        "name": clean(name, 256),
        "message": clean(message, _MAX_MESSAGE_BYTES),
        "stack": clean_end(stack, _MAX_STACK_BYTES),
    }
    payload = to_json(texts)
    if len(payload) > MAX_ERROR_BYTES:
        # Control characters grow sixfold as JSON.
        payload = to_json(texts | {"stack": clean_end(stack, _MAX_STACK_BYTES // 4)})
    return _End(FrameType.ERROR, payload, leaves)


def _said(error: BaseException) -> str:
    """The error's own words, or its class name; `str()` of it runs user code."""
    try:
        text = str(error)
    except BaseException as broken:  # noqa: BLE001 - a wall: user code may raise anything
        return f"{type(error).__name__} (str() of it raised {type(broken).__name__})"
    return text or type(error).__name__


def _stack(error: BaseException) -> str:
    """Python's traceback text without our own frames."""
    try:
        told = traceback.TracebackException(type(error), error, error.__traceback__)
        theirs = [one for one in told.stack if not one.filename.startswith(_OUR_FRAMES)]
        told.stack = traceback.StackSummary.from_list(theirs)
        return "".join(told.format())
    except BaseException:  # noqa: BLE001 - a wall: it calls str() of the user's exceptions
        return ""
