"""A child: it takes calls from fd 3, runs the processor, and says what came of it.

What the loop needs is bound before any user code runs, and what a processor can easily have
changed is put back after each call. It leaves by `os._exit`: no exit handler, no joined thread.
"""

from __future__ import annotations

import _thread
import builtins
import gc
import os
import signal
import struct
import sys
import threading
import traceback
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NoReturn

import setproctitle

from toril.errors import ProcessorImportError, SandboxUnavailable
from toril.sandbox import (
    confine,
    denied,
    ends,
    logs,
    preload,
    proc,
    strategies,
)
from toril.sandbox.frames import USAGE, Frame, FrameType, encode
from toril.sandbox.job import SandboxedJob
from toril.sandbox.levels import WALLED
from toril.sandbox.text import clean, clean_end, to_json
from toril.sandbox.wire import Wire, handler_of, listen_for_interrupts
from toril.sandbox.work_directory import WorkDirectory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toril.sandbox.confine import Plan, Step
    from toril.sandbox.ends import End
    from toril.sandbox.processor import Processor
    from toril.sandbox.strategies import Advice

NOT_SET_UP = 70
"""Exit code of a child that could not be set up (EX_SOFTWARE)."""

_MAX_TITLE_NAME = 64
_MAX_TRACEBACK_BYTES = 8 * 1024
_HEADER_LENGTH = struct.Struct("<I")

_WALL_STEPS = frozenset(step.name for step in confine.STEPS if step.levels <= WALLED)
_WALL_REMEDY = "`toril doctor` tells what this host lacks; look at the disk of the work directories"

_exit = os._exit
_raw_threads, _known_threads = _thread._count, threading.active_count  # noqa: SLF001 - no other way
_set_trace, _set_profile, _set_timer = sys.settrace, sys.setprofile, signal.setitimer
_set_recursion_limit, _collector_hooks = sys.setrecursionlimit, gc.callbacks
_set_title = setproctitle.setproctitle
_restore_builtins = builtins.__dict__.update


def main(plan: Plan, steps: Sequence[Step], processor: Processor | None) -> NoReturn:
    """Become a child and serve calls until told to stop; never returns.

    Args:
        plan: what the child has to become.
        steps: those of its level.
        processor: None when it is to be imported here.
    """
    step = ""
    try:
        for taken in steps:
            step = taken.name
            taken.act(plan)
        step = "import"
        found = processor or _resolve(plan)
        step = "setup"
        env = _set_up(plan, found)
        step = "data socket"
        wire = Wire(confine.DATA_FD, confine.CALLS_FD)
        child = _Child(plan, found, env, wire)
        logs.listen(wire)
    except BaseException as error:  # noqa: BLE001 - a wall: a child half set up must not run on
        _fault(plan, step, error)
    try:
        child.serve()
    except OSError:
        _exit(confine.LOST_SOCKET)
    finally:
        _exit(NOT_SET_UP)


def _resolve(plan: Plan) -> Processor:
    """Import the processor behind the wall."""
    return preload.resolve(
        plan.code,
        has_hidden=plan.has_hidden,
        explain=lambda error: denied.explained(error, plan),
    )


def _set_up(plan: Plan, processor: Processor) -> Any:
    if processor.setup is None:
        return None
    try:
        return processor.setup()
    except BaseException as error:  # noqa: BLE001 - a wall: user code may raise anything
        raise ProcessorImportError(
            f"setup() of {plan.code.words} failed: {type(error).__name__}: {ends.said(error)}",
            denied.explained(error, plan)
            or preload.import_remedy(error, has_hidden=plan.has_hidden),
            ends.stack(error),
        ) from None


def _fault(plan: Plan, step: str, error: BaseException) -> NoReturn:
    try:
        words, remedy, trace = f"{type(error).__name__}: {ends.said(error)}", "", ""
        if isinstance(error, SandboxUnavailable):
            words, remedy = error.reason, error.remedy
        elif step in _WALL_STEPS:
            remedy = _WALL_REMEDY
        if isinstance(error, ProcessorImportError):
            trace = error.traceback
        report = {
            "step": step,
            "error": clean(words, 2048),
            "remedy": clean(remedy, 1024),
            "traceback": clean_end(trace, _MAX_TRACEBACK_BYTES),
            "is_import": isinstance(error, ProcessorImportError),
        }
        frame = encode(FrameType.FAULT, 0, to_json(report))
        os.write(plan.data_fd if step == "file descriptors" else confine.DATA_FD, frame)
    finally:
        _exit(NOT_SET_UP)


class _Child:
    def __init__(self, plan: Plan, processor: Processor, env: Any, wire: Wire) -> None:
        self._plan = plan
        self._processor = processor
        self._env = env
        self._wire = wire
        is_walled = plan.wall.level in WALLED
        self._directory = WorkDirectory(plan.working_directory, is_own=is_walled)
        self._title = plan.title
        self._titled = ("", "")
        self._shown = ""
        self._peak = proc.Peak(confine.PEAK_FD)
        self._threads = _count_threads()
        self._hooks = (sys.gettrace(), sys.getprofile(), list(gc.callbacks))
        self._recursion_limit = sys.getrecursionlimit()
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self._builtin_names = dict(builtins.__dict__)
        self._listen()

    def serve(self) -> NoReturn:
        """READY, then call after call."""
        self._wire.send(FrameType.READY, 0)
        while True:
            frame = self._wire.ready()
            if frame is None:
                self._rest()
                frame = self._wire.receive()
            if frame is None:
                _exit(0)
            if frame.type is FrameType.STOP:
                self._leave()
            if frame.type is FrameType.JOB:
                self._attempt(frame)

    def _rest(self) -> None:
        """Nothing to do: what is not looked at between two calls is put right now."""
        self._listen()
        self._shown = self._title
        _set_title(self._title)

    def _attempt(self, frame: Frame) -> None:
        wire, sequence = self._wire, frame.sequence
        wire.begin(sequence)
        self._peak.begin()
        end = self._end_of(frame)
        peak_bytes = self._peak.end_bytes()
        self._restore()
        has_printed = confine.has_unread_output()
        usage = USAGE.pack(peak_bytes, has_printed)
        frames = [(FrameType.USAGE, usage), (end.type, end.payload)]
        if leaves := end.leaves or self._left_behind():
            # It is told to stop as soon as this is read, and measured.
            frames.insert(0, (FrameType.LAST, leaves.encode()))
        # What the next one prints must not be taken for this one's.
        wire.is_reserved = bool(has_printed or leaves)
        wire.send_together(sequence, frames)
        wire.end()
        self._directory.restore()

    def _end_of(self, frame: Frame) -> End:
        try:
            size = _HEADER_LENGTH.unpack_from(frame.payload)[0] + _HEADER_LENGTH.size
            header, data = frame.payload[_HEADER_LENGTH.size : size], frame.payload[size:]
            job = SandboxedJob(header, data, self._wire, frame.sequence, self._env)
            function = self._processor.find(job.name)
        except Exception as error:  # noqa: BLE001 - a wall: what cannot be started is an outcome
            return ends.not_started(error, self._plan)
        self._show(self._title_with(job.name))
        end = self._run(function, job)
        job.flush()
        return end

    def _show(self, title: str) -> None:
        if title is not self._shown:
            self._shown = title
            _set_title(title)

    def _title_with(self, name: str) -> str:
        """The title while it runs; mostly it runs the same job again."""
        if self._titled[0] != name:
            shown = "".join(one for one in name[:_MAX_TITLE_NAME] if one.isprintable())
            self._titled = name, f"{self._title} {shown}"
        return self._titled[1]

    def _run(self, function: Any, job: SandboxedJob) -> End:
        """Call the processor, and catch an interrupt that comes while its exception is caught."""
        try:
            return self._called(function, job)
        except BaseException as error:  # noqa: BLE001 - the wall: every way to fail is an outcome
            return self._failed(error, job, has_returned=False)

    def _called(self, function: Any, job: SandboxedJob) -> End:
        """Call the processor; `running` is true exactly while an interrupt may be raised."""
        wire, has_returned = self._wire, False
        try:
            wire.start()
            value = function(job)
            _restore_builtins(self._builtin_names)
            if isinstance(value, CoroutineType):
                value = preload.coroutine_runner()(value, wire)
                _restore_builtins(self._builtin_names)
            has_returned = True
            payload = to_json(value)
            wire.running = False
        except BaseException as error:  # noqa: BLE001 - the wall: every way to fail is an outcome
            return self._failed(error, job, has_returned=has_returned)
        return ends.result(payload, self._plan.limits)

    def _failed(self, error: BaseException, job: SandboxedJob, *, has_returned: bool) -> End:
        self._wire.running = False
        _restore_builtins(self._builtin_names)

        def ask(failure: Exception) -> Advice | None:
            runner = preload.coroutine_runner
            advice = strategies.ask(self._processor.strategies, job, failure, self._wire, runner)
            _restore_builtins(self._builtin_names)
            return advice

        return ends.raised(error, self._plan, has_returned=has_returned, ask=ask)

    def _restore(self) -> None:
        """Put back what a processor can easily have changed, whatever it has done to it."""
        trace, profile, hooks = self._hooks
        _set_trace(trace)
        _set_profile(profile)
        _collector_hooks[:] = hooks
        _set_recursion_limit(self._recursion_limit)
        _set_timer(signal.ITIMER_REAL, 0)
        confine.flush_streams()
        sys.stdin, sys.stdout, sys.stderr = self._streams
        if sys.stdout.closed or sys.stderr.closed:
            confine.open_streams()
            self._streams = (sys.stdin, sys.stdout, sys.stderr)
        if not self._is_listening():
            self._listen()

    def _is_listening(self) -> bool:
        """Has nobody taken our signals, as far as Python knows? That costs no system call.

        By identity: what a job has put in their place may call itself equal.
        """
        interrupts, asks = self._handlers
        return handler_of(signal.SIGTERM) is interrupts and handler_of(confine.STACK_SIGNAL) is asks

    def _listen(self) -> None:
        listen_for_interrupts(self._wire)
        confine.answer_stack_asks()
        self._handlers = handler_of(signal.SIGTERM), handler_of(confine.STACK_SIGNAL)

    def _left_behind(self) -> str:
        count = _count_threads() - self._threads
        return f"{count} threads left running" if count > 0 else ""

    def _leave(self) -> NoReturn:
        """Go for good; the supervisor gives `teardown()` the grace and no longer."""
        try:
            if self._processor.teardown is not None:
                self._processor.teardown()
        except BaseException:  # noqa: BLE001 - a wall: user code may raise anything
            traceback.print_exc()
        finally:
            confine.flush_streams()
            _exit(0)


def _count_threads() -> int:
    """Threads that Python code started: through `threading`, or without it."""
    return max(_raw_threads(), _known_threads() - 1)
