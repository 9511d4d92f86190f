"""One child as the supervisor holds it: fires events into the state table, does what it says.

The zygote tells of its birth and its end, the channel brings frames, timers bring deadlines. What
is wanted of a child (that it should go) is a field; what it is, is the state. What its call has
come to so far is in `attempt.py`.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from toril.call import Usage, Verdict
from toril.sandbox import outcomes
from toril.sandbox.alarm import Alarm
from toril.sandbox.attempt import Attempt
from toril.sandbox.frames import FrameType
from toril.sandbox.listener import ChildExit, tell
from toril.sandbox.outcomes import Fault
from toril.sandbox.process import Process
from toril.sandbox.session import admit
from toril.sandbox.states import TABLE, Action, Event, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from toril.call import Call, Outcome
    from toril.sandbox.deaths import Death
    from toril.sandbox.descriptors import Ends
    from toril.sandbox.frames import Frame
    from toril.sandbox.limits import Limits
    from toril.sandbox.listener import ChildListener

FORK_S = 10.0
"""From the fork request to the zygote's answer; chosen: 1000 times the usual."""

READY_S = 60.0
"""From the fork to READY, the processor's import and `setup()` included; chosen: a large model is
read in less."""

REPORT_S = 5.0
"""From the pidfd to the zygote's report; chosen: longer than its longest sweep."""

_HANGUP_S = 0.5
"""From a closed socket to the kill; chosen: a dying child closes it less than 1 ms before its pidfd
tells, on a loaded machine later."""

_OVER = frozenset({Verdict.OVER_MEMORY, Verdict.OVER_DISK, Verdict.OVER_THREADS})
"""What a child is to blame for without a call, too."""

_BUSY = frozenset({State.RUNNING, State.INTERRUPTING})
_DEAF = frozenset({State.KILLING, State.DEAD, State.REAPED})


class Home(Protocol):
    """The zygote, as its children know it."""

    def forget(self, child: Child) -> None:
        """The child is buried."""

    def accuse(self, silence: str) -> None:
        """It has not answered in time what `silence` names."""


class Child:
    """A forked child, from the request until it is reaped.

    Attributes:
        slot: its place in the pool.
        state: where it is in its life.
        jobs_run: calls it was given.
        ready_at_s: the loop's time at READY; None before.
        limits: what it may use.
        listener: who hears of it.
        process: what we hold of its process.
        fault: why it, or its call, has to end; the first reason stays.
    """

    def __init__(
        self,
        *,
        slot: int,
        limits: Limits,
        listener: ChildListener,
        ends: Ends,
        home: Home,
    ) -> None:
        """Made by `Zygote.fork` only."""
        self.slot = slot
        self.state = State.REQUESTED
        self.jobs_run = 0
        self.ready_at_s: float | None = None
        self.limits = limits
        self.listener = listener
        self.fault: Fault | None = None
        self._loop = asyncio.get_running_loop()
        self._home = home
        self.process = Process(self._loop, limits, ends, self, self._on_lines)
        self._timer = Alarm(self._loop)
        self._hangup = Alarm(self._loop)
        self._attempt: Attempt | None = None
        self._is_unwanted = False
        self._is_orphan = False
        self._is_draining = False
        self._owes_offer = False
        self._timer.set(FORK_S, self._on_time_up)

    @property
    def pid(self) -> int | None:
        """Its process id; None until the zygote has forked it."""
        return self.process.pid

    @property
    def rss_growth_bytes(self) -> int | None:
        """Growth of its resident size since READY, after its last call; None before READY."""
        meter = self.process.meter
        return None if meter is None else meter.growth_bytes

    @property
    def running_ms(self) -> int | None:
        """How long it has been at its call; None without one."""
        meter = self.process.meter
        return None if meter is None or self._attempt is None else meter.wall_ms

    def run(self, call: Call) -> None:
        """Give the child a call; its hard timeout begins now.

        Raises:
            RuntimeError: the child is not idle.
        """
        self._owes_offer = False
        if self.state is State.IDLE:
            self.jobs_run += 1
            self.process.capture.begin()
            self._attempt = Attempt(self, call)
        self._fire(Event.RUN)

    def interrupt(self, verdict: Verdict) -> None:
        """Ask the running processor to stop, kill the child after the grace; else do nothing.

        The outcome carries this verdict, unless an earlier one is there or the call had ended; its
        detail says at which `stage` the call gave way (`Attempt`). With INTERRUPTED a result that
        comes within the grace counts too.
        """
        self.stop_for(Fault(verdict))

    def kill(self, verdict: Verdict) -> None:
        """Kill the child at once; a running call's outcome carries this verdict.

        A result that was sent before counts, except when the lock is lost.
        """
        self.kill_for(Fault(verdict))

    def retire(self) -> None:
        """Let the child end: now if it is idle, else after its call."""
        self._is_unwanted = True
        self._fire(Event.RETIRE)

    def ask_stack(self, callback: Callable[[str], None]) -> None:
        """Call back within about a second with the Python stack of the running job.

        It works while C code holds the interpreter. Empty: no job runs, or its process does not
        answer (it is stopped, or the job blocked or replaced the signal or its pipe).
        """
        if self._attempt is None:
            self._loop.call_soon(callback, "")
        else:
            self.process.ask_stack(callback)

    # What the zygote tells.

    def forked(self, pid: int, pidfd: int) -> None:
        """It exists; `pidfd` is ours from now on."""
        self.process.born(pid, pidfd, self._on_death)
        self._fire(Event.FORKED)

    def not_forked(self, why: str) -> None:
        """The zygote refused."""
        self._blame(Fault(Verdict.UNAVAILABLE, why))
        self._fire(Event.REPORTED)

    def reported(self, death: Death) -> None:
        """It is reaped, and its process tree with it."""
        self.process.death = death
        self._drain()
        self._fire(Event.REPORTED)

    def zygote_gone(self) -> None:
        """Nobody will report its end any more: kill it, and let go when its pidfd tells."""
        self._drain()
        if self.state in _BUSY:
            self._blame(Fault(Verdict.LOST))
        self._is_orphan = self._is_unwanted = True
        if self.pid is None or self.state is State.DEAD:
            self._fire(Event.REPORTED)
        else:
            self._fire(Event.KILL)

    # What the channel tells.

    def on_frame(self, frame: Frame) -> None:
        """Take one frame; part of `channel.Owner`."""
        if self.state in _DEAF:
            return
        attempt = self._attempt
        admit(self.state, frame.type, frame.sequence, 0 if attempt is None else attempt.sequence)
        if frame.type is FrameType.READY:
            self._fire(Event.READY)
        elif frame.type is FrameType.FAULT:
            self._blame(outcomes.fault(frame.payload))
            self._fire(Event.FAULT)
        elif attempt is not None and (outcome := attempt.take(frame)) is not None:
            self._settle(outcome)

    def on_turn(self) -> None:
        """Offer the child only when everything it sent together is taken.

        A frame too many is then this child's fault and not its next job's.
        """
        if self._owes_offer and self.state is State.IDLE and not self._is_draining:
            self._owes_offer = False
            self.tell(self.listener.on_idle)

    def on_broken(self, rule: str) -> None:
        """A frame broke a rule; part of `channel.Owner`."""
        if self.state in _DEAF:
            return
        self._blame(Fault(Verdict.BROKE_PROTOCOL, rule))
        self._fire(Event.BROKE)

    def on_hangup(self) -> None:
        """Its end is closed; mostly because it dies just now."""
        self._hangup.set(_HANGUP_S, self._on_hangup_late)

    def on_written(self) -> None:
        """What was held back has left."""
        if self._attempt is not None:
            self._attempt.on_written()

    # For its attempt.

    def warn(self) -> None:
        """The soft timeout is over: an exception in the processor, and nothing after it."""
        self._drain()
        self._fire(Event.WARN)

    def stop_for(self, fault: Fault) -> None:
        """As `interrupt`, for a reason with words."""
        self._drain()
        if self.state is State.RUNNING:
            self._blame(fault)
        self._fire(Event.INTERRUPT)

    def kill_for(self, fault: Fault) -> None:
        """As `kill`, for a reason with words."""
        if fault.verdict is not Verdict.LOCK_LOST:
            self._drain()
        if self.state in _BUSY or fault.verdict in _OVER:
            self._blame(fault)
        if self._attempt is not None:
            self._attempt.asked_to_stop()
        self._is_unwanted = True
        self._fire(Event.KILL)

    def tell(self, listener: Callable[..., None], *news: Any) -> None:
        """Tell a listener something of this child."""
        tell(self._loop, listener, self, *news)

    def measure(self, peak_bytes: int | None) -> Usage:
        """What the call at work has used; its peak as the child says."""
        return self.process.measure(is_alive=self.state in _BUSY, peak_bytes=peak_bytes)

    # Timers, and the pidfd.

    def _on_time_up(self) -> None:
        before = self.state
        self._drain()
        if self.state is not before:
            return
        if self.state is State.CONFINING:
            why = f"a child was not ready within {READY_S:g} s, its import and setup() included"
            self._blame(Fault(Verdict.UNAVAILABLE, why))
        self._fire(Event.TIME_UP)

    def _on_hangup_late(self) -> None:
        if self.state is not State.RETIRING:
            self._blame(Fault(Verdict.DISCONNECTED))
        self._fire(Event.HANGUP)

    def _on_death(self) -> None:
        self.process.died()
        self._drain()
        self._fire(Event.DIED)

    def _drain(self) -> None:
        """Take what it has sent before deciding about it; it is offered again only afterwards."""
        self._is_draining = True
        try:
            self.process.channel.drain()
        finally:
            self._is_draining = False
        if self._owes_offer:
            self._loop.call_soon(self.on_turn)

    def _blame(self, fault: Fault) -> None:
        """Keep the first reason; it never changes."""
        self.fault = self.fault or fault

    # What the state table asks for.

    def _fire(self, event: Event) -> None:
        self.state, action = TABLE[self.state, event]
        self._ACTIONS[action](self)

    def _nothing(self) -> None:
        pass

    def _listen(self) -> None:
        self._timer.set(READY_S, self._on_time_up)
        self.process.channel.open(self._loop)

    def _offer(self) -> None:
        self._timer.clear()
        if self.ready_at_s is None:
            self.ready_at_s = self._loop.time()
            self.process.ready()
        if self._is_unwanted:
            self.retire()
        else:
            self._owes_offer = True

    def _send_job(self) -> None:
        if not self._current().begin():
            # It died while idle: the call never reached it, so it is not to blame.
            self._blame(Fault(Verdict.LOST, "the child was gone before it began"))

    def _send_warning(self) -> None:
        """The exception may strike between any two instructions: not to be used again."""
        self._is_unwanted = True
        self._current().warn()

    def _send_cancel(self) -> None:
        self._timer.set(self.limits.grace_s, self._on_time_up)
        self._current().stop(self.fault.verdict if self.fault else Verdict.INTERRUPTED)

    def _current(self) -> Attempt:
        if self._attempt is None:
            raise AssertionError("a busy child has a call")
        return self._attempt

    def _send_stop(self) -> None:
        self._is_unwanted = True
        self._timer.set(max(self.limits.grace_s, 1.0), self._on_time_up)
        self.process.channel.send(FrameType.STOP, 0)

    def _kill(self) -> None:
        self._stop_clocks()
        self.process.kill()

    def _await_report(self) -> None:
        self._stop_clocks()
        if self._is_orphan:
            self.process.reap_orphan()
            self._fire(Event.REPORTED)
        else:
            self._timer.set(REPORT_S, self._on_time_up)

    def _accuse(self) -> None:
        if self.state is State.REQUESTED:
            self._home.accuse(f"a fork request within {FORK_S:g} s")
        else:
            self._home.accuse(f"with a dead child's report within {REPORT_S:g} s")

    def _bury(self) -> None:
        self._stop_clocks()
        self.process.close()
        if self._attempt is not None:
            self._settle(self._last_words(self._attempt))
        self._home.forget(self)
        self.tell(self.listener.on_gone, self._exit())

    def _stop_clocks(self) -> None:
        self.process.watch.close()
        self._timer.clear()
        self._hangup.clear()

    def _reject(self) -> None:
        raise RuntimeError(f"child {self.slot} is {self.state.value}, expected idle")

    # How it ends.

    def _settle(self, outcome: Outcome) -> None:
        """Hand out the call's one outcome, with everything that was printed before it."""
        attempt = self._current()
        self.process.capture.end()
        attempt.close()
        self._attempt = None
        if self.state in _BUSY:
            self.fault = None
            self._fire(Event.SETTLED_LAST if attempt.is_last else Event.SETTLED)
        self.tell(self.listener.on_outcome, attempt.call, outcome)

    def _last_words(self, attempt: Attempt) -> Outcome:
        """The outcome of a call whose child is gone; a crash explains a closed socket."""
        fault = self.fault
        was_dying = self.process.death.signal not in {None, signal.SIGKILL}
        if fault is not None and fault.verdict is Verdict.DISCONNECTED and was_dying:
            fault = None
        return attempt.last_words(fault)

    def _exit(self) -> ChildExit:
        death = self.process.death
        facts = ChildExit(
            pid=self.pid,
            exit_code=death.exit_code,
            signal=death.signal,
            expected=self._is_unwanted,
            ran=self.jobs_run,
            stderr_tail=self.process.capture.output.stderr_tail,
            is_orphan=self._is_orphan,
        )
        was_ready = self.ready_at_s is not None
        return outcomes.judged(facts, death, self.fault, was_ready=was_ready)

    def _on_lines(self, stream: str, lines: list[str]) -> None:
        self.tell(self.listener.on_log, self._attempt and self._attempt.call, stream, lines)

    _ACTIONS: ClassVar[Mapping[Action, Callable[[Child], None]]] = {
        Action.NOTHING: _nothing,
        Action.LISTEN: _listen,
        Action.OFFER: _offer,
        Action.SEND_JOB: _send_job,
        Action.SEND_WARNING: _send_warning,
        Action.SEND_CANCEL: _send_cancel,
        Action.SEND_STOP: _send_stop,
        Action.KILL: _kill,
        Action.AWAIT_REPORT: _await_report,
        Action.ACCUSE: _accuse,
        Action.BURY: _bury,
        Action.REJECT: _reject,
    }
