"""One child as the supervisor holds it: fires events into the state table, does what it says.

The zygote tells of its birth and its end, the channel brings frames, timers bring deadlines. What
is wanted of a child (that it should go) is a field; what it is, is the state.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import struct
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from toril.call import Outcome, Usage, Verdict
from toril.sandbox import outcomes, tree
from toril.sandbox.alarm import Alarm
from toril.sandbox.capture import Capture
from toril.sandbox.channel import Channel
from toril.sandbox.frames import FrameType
from toril.sandbox.listener import ChildExit, tell
from toril.sandbox.outcomes import Death, Fault
from toril.sandbox.session import admit
from toril.sandbox.states import TABLE, Action, Event, State
from toril.sandbox.usage import Meter

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from toril.call import Call
    from toril.sandbox.frames import Frame
    from toril.sandbox.limits import Limits
    from toril.sandbox.listener import ChildListener

_START_S = 10.0
"""From the fork request to READY; chosen: 1000 times the usual."""

_HANGUP_S = 0.5
"""From a closed socket to the kill; chosen: a dying child closes it less than 1 ms before its pidfd
tells, on a loaded machine later."""

_REPORT_S = 5.0
"""From the pidfd to the zygote's report; chosen: longer than its longest sweep."""

_BUSY = frozenset({State.RUNNING, State.INTERRUPTING})
_DEAF = frozenset({State.KILLING, State.DEAD, State.REAPED})
_HEADER_LENGTH = struct.Struct("<I")


class Child:
    """A forked child, from the request until it is reaped.

    Attributes:
        slot: its place in the pool.
        pid: None until the zygote has forked it.
        state: where it is in its life.
        jobs_run: calls it was given.
    """

    def __init__(
        self,
        *,
        slot: int,
        limits: Limits,
        listener: ChildListener,
        ends: tuple[socket.socket, int, int],
        on_buried: Callable[[Child], None],
    ) -> None:
        """Made by `Zygote.fork` only. `ends`: our ends of the data socket, stdout and stderr."""
        self.slot = slot
        self.pid: int | None = None
        self.state = State.REQUESTED
        self.jobs_run = 0
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._listener = listener
        self._on_buried = on_buried
        self._channel = Channel(ends[0], limits.result_bytes, self)
        self._capture = Capture(self._loop, ends[1:], limits.output_bytes, self._on_lines)
        self._meter: Meter | None = None
        self._pidfd: int | None = None
        self._timer = Alarm(self._loop)
        self._hangup = Alarm(self._loop)
        self._call: Call | None = None
        self._sequence = 0
        self._was_ready = False
        self._fault: Fault | None = None
        self._is_last = False
        self._is_unwanted = False
        self._is_orphan = False
        self._is_draining = False
        self._owes_offer = False
        self._owes_signal = False
        self._death = Death()
        self._timer.set(_START_S, self._on_start_late)

    def run(self, call: Call) -> None:
        """Give the child a call; its hard timeout begins now.

        Raises:
            RuntimeError: the child is not idle.
        """
        self._owes_offer = False
        if self.state is State.IDLE:
            self._call = call
            self._sequence += 1
            self.jobs_run += 1
            self._capture.begin(self._limits.output_bytes)
        self._fire(Event.RUN)

    def interrupt(self, verdict: Verdict) -> None:
        """Ask the running processor to stop, kill the child after the grace; else do nothing.

        The outcome carries this verdict, unless an earlier one is there or the call had ended.
        With INTERRUPTED a result that comes within the grace counts too.
        """
        self._drain()
        if self.state is State.RUNNING:
            self._blame(verdict)
        self._fire(Event.INTERRUPT)

    def kill(self, verdict: Verdict) -> None:
        """Kill the child at once; a running call's outcome carries this verdict.

        A result that was sent before counts, except when the lock is lost.
        """
        if verdict is not Verdict.LOCK_LOST:
            self._drain()
        if self.state in _BUSY:
            self._blame(verdict)
        self._is_unwanted = True
        self._fire(Event.KILL)

    def retire(self) -> None:
        """Let the child end: now if it is idle, else after its call."""
        self._is_unwanted = True
        self._fire(Event.RETIRE)

    # What the zygote tells.

    def forked(self, pid: int, pidfd: int) -> None:
        """It exists; `pidfd` is ours from now on."""
        self.pid, self._pidfd = pid, pidfd
        self._meter = Meter(pid)
        self._loop.add_reader(pidfd, self._on_death)
        self._fire(Event.FORKED)

    def not_forked(self, why: str) -> None:
        """The zygote refused."""
        self._blame(Verdict.UNAVAILABLE, why)
        self._fire(Event.REPORTED)

    def reported(self, death: Death) -> None:
        """It is reaped, and its process tree with it."""
        self._death = death
        self._drain()
        self._fire(Event.REPORTED)

    def zygote_gone(self) -> None:
        """Nobody will report its end any more: kill it, and let go when its pidfd tells."""
        self._drain()
        if self.state in _BUSY:
            self._blame(Verdict.LOST)
        self._is_orphan = self._is_unwanted = True
        if self._pidfd is None or self.state is State.DEAD:
            self._fire(Event.REPORTED)
        else:
            self._fire(Event.KILL)

    # What the channel tells.

    def on_frame(self, frame: Frame) -> None:
        """Take one frame; part of `channel.Owner`."""
        if self.state in _DEAF:
            return
        admit(self.state, frame.type, frame.sequence, 0 if self._call is None else self._sequence)
        self._FRAMES[frame.type](self, frame.payload)

    def on_turn(self) -> None:
        """Offer the child only when everything it sent together is taken.

        A frame too many is then this child's fault and not its next job's.
        """
        if self._owes_offer and self.state is State.IDLE and not self._is_draining:
            self._owes_offer = False
            self._tell(self._listener.on_idle)

    def on_broken(self, rule: str) -> None:
        """A frame broke a rule; part of `channel.Owner`."""
        if self.state in _DEAF:
            return
        self._blame(Verdict.BROKE_PROTOCOL, rule)
        self._fire(Event.BROKE)

    def on_hangup(self) -> None:
        """Its end is closed; mostly because it dies just now."""
        self._hangup.set(_HANGUP_S, self._on_hangup_late)

    def on_written(self) -> None:
        """A CANCEL that was held back has left: now the signal finds it."""
        if self._owes_signal:
            self._owes_signal = False
            self._signal(signal.SIGTERM)

    def _on_ready(self, _: bytes) -> None:
        self._was_ready = True
        self._fire(Event.READY)

    def _on_fault(self, payload: bytes) -> None:
        self._blame(Verdict.UNAVAILABLE, outcomes.fault(payload))
        self._fire(Event.FAULT)

    def _on_progress(self, payload: bytes) -> None:
        outcomes.check_json("progress", payload)
        self._tell(self._listener.on_progress, self._call, payload)

    def _on_update_data(self, payload: bytes) -> None:
        outcomes.check_json("job data", payload)
        self._tell(self._listener.on_update_data, self._call, payload)

    def _on_log(self, payload: bytes) -> None:
        text = payload.decode("utf-8", "replace")
        if self._capture.output.admit(len(payload)):
            self._tell(self._listener.on_log, self._call, "log", [text])

    def _on_last(self, _: bytes) -> None:
        self._is_last = True

    def _on_result(self, payload: bytes) -> None:
        outcome, fault = outcomes.returned(payload), self._fault
        if fault is not None and fault.verdict is not Verdict.INTERRUPTED:
            outcome = self._ended(fault)
        self._settle(outcome)

    def _on_error(self, payload: bytes) -> None:
        outcome = outcomes.failed(payload)
        if self._fault is not None:
            outcome = replace(self._ended(self._fault), stack=outcome.stack)
        self._settle(outcome)

    def _on_start_late(self) -> None:
        self._blame(Verdict.UNAVAILABLE, f"a child was not ready within {_START_S:g} s")
        self._fire(Event.TIME_UP)

    def _on_deadline(self) -> None:
        self.interrupt(Verdict.TIMED_OUT)

    def _on_time_up(self) -> None:
        before = self.state
        self._drain()
        if self.state is before:
            self._fire(Event.TIME_UP)

    def _on_hangup_late(self) -> None:
        if self.state is not State.RETIRING:
            self._blame(Verdict.DISCONNECTED)
        self._fire(Event.HANGUP)

    def _on_death(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
        self._drain()
        self._fire(Event.DIED)

    def _report_orphan(self) -> None:
        """Its end is the init process's to reap, or ours, if this process is a subreaper."""
        status = tree.reap(self.pid) if self.pid else None
        if status is not None:
            self._death = Death.from_status(status, None)
        self._fire(Event.REPORTED)

    def _drain(self) -> None:
        """Take what it has sent before deciding about it; it is offered again only afterwards."""
        self._is_draining = True
        try:
            self._channel.drain()
        finally:
            self._is_draining = False
        if self._owes_offer:
            self._loop.call_soon(self.on_turn)

    def _fire(self, event: Event) -> None:
        self.state, action = TABLE[self.state, event]
        self._ACTIONS[action](self)

    def _nothing(self) -> None:
        pass

    def _listen(self) -> None:
        self._channel.open(self._loop)

    def _offer(self) -> None:
        self._timer.clear()
        max_jobs = self._limits.max_jobs
        if self._is_unwanted or (max_jobs is not None and self.jobs_run >= max_jobs):
            self.retire()
        else:
            self._owes_offer = True

    def _send_job(self) -> None:
        call = self._call
        if call is None or self._meter is None:
            raise AssertionError("a child runs only with a call and a pid")
        self._is_last = False
        self._meter.start()
        self._timer.set(self._limits.timeout_s, self._on_deadline)
        length = _HEADER_LENGTH.pack(len(call.header))
        parts = (length, call.header, call.data)
        if not self._channel.send(FrameType.JOB, self._sequence, *parts):
            # It died while idle: the call never reached it, so it is not to blame.
            self._blame(Verdict.LOST, "its child was gone before it began")

    def _send_cancel(self) -> None:
        self._timer.set(self._limits.grace_s, self._on_time_up)
        verdict = self._fault.verdict if self._fault else Verdict.INTERRUPTED
        reason = json.dumps({"reason": verdict.value}).encode()
        self._channel.send(FrameType.CANCEL, self._sequence, reason)
        if self._channel.has_unsent():
            self._owes_signal = True
        else:
            self._signal(signal.SIGTERM)

    def _send_stop(self) -> None:
        self._is_unwanted = True
        self._timer.set(max(self._limits.grace_s, 1.0), self._on_time_up)
        self._channel.send(FrameType.STOP, 0)

    def _kill(self) -> None:
        self._timer.clear()
        self._hangup.clear()
        self._channel.close()
        self._signal(signal.SIGKILL)

    def _await_report(self) -> None:
        self._timer.clear()
        self._hangup.clear()
        if self._is_orphan:
            self._report_orphan()
        else:
            self._timer.set(_REPORT_S, self._on_time_up)

    def _bury(self) -> None:
        self._timer.clear()
        self._hangup.clear()
        self._channel.close()
        self._capture.close()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        if self._call is not None:
            self._settle(self._last_words())
        self._on_buried(self)
        self._tell(self._listener.on_gone, self._exit())

    def _reject(self) -> None:
        raise RuntimeError(f"child {self.slot} is {self.state.value}, expected idle")

    # How it ends.

    def _settle(self, outcome: Outcome) -> None:
        """Hand out the call's one outcome, with everything that was printed before it."""
        call = self._call
        if call is None:
            raise AssertionError("only a running call settles")
        self._capture.end()
        if outcome.usage == Usage():
            outcome = replace(outcome, usage=self._usage())
        self._call = None
        self._owes_signal = False
        if self.state in _BUSY:
            self._fault = None
            self._fire(Event.SETTLED_LAST if self._is_last else Event.SETTLED)
        self._tell(self._listener.on_outcome, call, outcome)

    def _ended(self, fault: Fault) -> Outcome:
        return outcomes.ended(fault, timeout_s=self._limits.timeout_s, usage=self._usage())

    def _last_words(self) -> Outcome:
        """The outcome of a call whose child is gone."""
        fault = self._fault
        was_dying = self._death.signal not in {None, signal.SIGKILL}
        if fault is None or (fault.verdict is Verdict.DISCONNECTED and was_dying):
            return outcomes.died(self._death, self._capture.output.stderr_tail, self._usage())
        return self._ended(fault)

    def _usage(self) -> Usage:
        if self._meter is None:
            return Usage()
        is_alive = self.state in _BUSY
        return self._meter.stop(is_alive=is_alive, total_cpu_ms=self._death.cpu_ms)

    def _exit(self) -> ChildExit:
        facts = ChildExit(
            pid=self.pid,
            exit_code=self._death.exit_code,
            signal=self._death.signal,
            expected=self._is_unwanted,
            ran=self.jobs_run,
            stderr_tail=self._capture.output.stderr_tail,
        )
        return outcomes.judged(facts, self._death, self._fault, was_ready=self._was_ready)

    def _blame(self, verdict: Verdict, why: str = "") -> None:
        """Keep the first reason; it never changes."""
        self._fault = self._fault or Fault(verdict, why)

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _on_lines(self, stream: str, lines: list[str]) -> None:
        self._tell(self._listener.on_log, self._call, stream, lines)

    def _tell(self, listener: Callable[..., None], *news: Any) -> None:
        tell(self._loop, listener, self, *news)

    _FRAMES: ClassVar[Mapping[FrameType, Callable[[Child, bytes], None]]] = {
        FrameType.READY: _on_ready,
        FrameType.FAULT: _on_fault,
        FrameType.PROGRESS: _on_progress,
        FrameType.UPDATE_DATA: _on_update_data,
        FrameType.LOG: _on_log,
        FrameType.LAST: _on_last,
        FrameType.RESULT: _on_result,
        FrameType.ERROR: _on_error,
    }

    _ACTIONS: ClassVar[Mapping[Action, Callable[[Child], None]]] = {
        Action.NOTHING: _nothing,
        Action.LISTEN: _listen,
        Action.OFFER: _offer,
        Action.SEND_JOB: _send_job,
        Action.SEND_CANCEL: _send_cancel,
        Action.SEND_STOP: _send_stop,
        Action.KILL: _kill,
        Action.AWAIT_REPORT: _await_report,
        Action.BURY: _bury,
        Action.REJECT: _reject,
    }
