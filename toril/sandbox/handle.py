"""One child as the supervisor holds it: fires events into the state table, does what it says.

The zygote tells of its birth and its end, the channel brings frames, timers bring deadlines. What
is wanted of a child (that it should go) is a field; what it is, is the state. What its call has
come to so far is in `attempt.py`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from toril.call import Usage, Verdict
from toril.sandbox import home, outcomes
from toril.sandbox.alarm import Alarm
from toril.sandbox.frames import FrameType
from toril.sandbox.listener import tell
from toril.sandbox.outcomes import Fault
from toril.sandbox.process import Process
from toril.sandbox.session import admit
from toril.sandbox.states import BUSY, TABLE, Action, Event, State
from toril.sandbox.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from toril.call import Call, Outcome
    from toril.sandbox.attempt import Attempt
    from toril.sandbox.deaths import Death
    from toril.sandbox.descriptors import Ends
    from toril.sandbox.frames import Frame
    from toril.sandbox.limits import Limits
    from toril.sandbox.listener import ChildExit, ChildListener

_TOO_SOON = "took a call before it was its turn"

_NEVER_BEGAN = Fault(Verdict.LOST, "the child was gone before it began")
"""It died while idle: the call never reached it, so it is not to blame."""

_OVER = frozenset({Verdict.OVER_MEMORY, Verdict.OVER_DISK, Verdict.OVER_THREADS})
"""What a child is to blame for without a call, too."""

_DEAF = frozenset({State.KILLING, State.DEAD, State.REAPED})


class Child:
    """A forked child, from the request until it is reaped.

    Attributes:
        slot: its place in the pool.
        state: where it is in its life.
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
        zygote: home.Home,
    ) -> None:
        """Made by `Zygote.fork` only."""
        self.slot = slot
        self.state = State.REQUESTED
        self.limits = limits
        self.listener = listener
        self.fault: Fault | None = None
        self._loop = asyncio.get_running_loop()
        self._home = zygote
        self.process = Process(self._loop, limits, ends, self, self._on_lines)
        self._timer = Alarm(self._loop)
        self._hangup = Alarm(self._loop)
        self._turns = Turns(self, self._loop)
        self._is_unwanted = False
        self._is_orphan = False
        self._is_draining = False
        self._owes_offer = False
        self._timer.set(home.FORK_S, self._on_time_up)

    @property
    def pid(self) -> int | None:
        """Its process id; None until the zygote has forked it."""
        return self.process.pid

    @property
    def jobs_run(self) -> int:
        """Calls it was given."""
        return self._turns.count

    @property
    def running_ms(self) -> int | None:
        """How long it has been at its call; None without one."""
        meter = self.process.meter
        return None if meter is None or self._turns.current is None else meter.wall_ms

    def run(self, call: Call) -> None:
        """Give the child a call; its hard timeout begins now.

        Raises:
            RuntimeError: the child is not idle.
        """
        self._owes_offer = False
        if self.state is State.IDLE:
            self._turns.give(call)
        self._fire(Event.RUN)

    def prefetch(self, call: Call) -> bool:
        """Lay a call ready behind the one at work; False where that cannot be.

        `on_next` follows when its turn comes, `on_recalled` if it does not. Not for a call that has
        been at work for long, nor where what was printed has to be told apart first.
        """
        is_closed = self._is_unwanted or self._is_draining or self.state is not State.RUNNING
        return not is_closed and self._turns.lay_ready(call)

    def recall(self) -> None:
        """Take back what lies ready: it has one call at most then, as far as it keeps the rules."""
        if self._turns.has_ready:
            self._catch_up()

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
        self.recall()
        self._fire(Event.RETIRE)

    def ask_stack(self, callback: Callable[[str], None]) -> None:
        """Call back within about a second with the Python stack of the running job.

        It works while C code holds the interpreter. Empty: no job runs, or its process does not
        answer (it is stopped, or the job blocked or replaced the signal or its pipe).
        """
        if self._turns.current is None:
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
        self._catch_up()
        self._fire(Event.REPORTED)

    def zygote_gone(self) -> None:
        """Nobody will report its end any more: kill it, and let go when its pidfd tells."""
        self._catch_up()
        if self.state in BUSY:
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
        attempt = self._turns.current
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
        self.process.turn()
        if self._owes_offer and self.state is State.IDLE and not self._is_draining:
            self._owes_offer = False
            self.tell(self.listener.on_idle)

    def on_broken(self, rule: str) -> None:
        """A frame broke a rule; part of `channel.Owner`."""
        if self.state in _DEAF:
            return
        self._blame(Fault(Verdict.BROKE_PROTOCOL, rule))
        self._take_back()
        self._fire(Event.BROKE)

    def on_hangup(self) -> None:
        """Its end is closed; mostly because it dies just now."""
        self._hangup.set(home.HANGUP_S, self._on_hangup_late)

    def on_written(self) -> None:
        """What was held back has left."""
        if self._turns.current is not None:
            self._turns.current.on_written()

    # For its attempt.

    def warn(self, attempt: Attempt) -> None:
        """Its soft timeout is over: an exception in the processor, and nothing after it."""
        self._catch_up()
        if self._turns.current is attempt:
            self._fire(Event.WARN)

    def stop_for(self, fault: Fault, attempt: Attempt | None = None) -> None:
        """As `interrupt`, for a reason with words; only if this attempt is still at work."""
        self._catch_up()
        if attempt is not None and self._turns.current is not attempt:
            return
        if self.state is State.RUNNING:
            self._blame(fault)
        self._fire(Event.INTERRUPT)

    def kill_for(self, fault: Fault) -> None:
        """As `kill`, for a reason with words."""
        if fault.verdict is not Verdict.LOCK_LOST or self._turns.has_ready:
            self._catch_up()
        if self.state in BUSY or fault.verdict in _OVER:
            self._blame(fault)
        if self._turns.current is not None:
            self._turns.current.asked_to_stop()
        self._is_unwanted = True
        self._fire(Event.KILL)

    def tell(self, listener: Callable[..., None], *news: Any) -> None:
        """Tell a listener something of this child."""
        tell(self._loop, listener, self, *news)

    def measure(self, peak_bytes: int | None) -> Usage:
        """What the call at work has used; its peak as the child says."""
        return self.process.measure(is_alive=self.state in BUSY, peak_bytes=peak_bytes)

    # Timers, and the pidfd.

    def _on_time_up(self) -> None:
        before = self.state
        self._catch_up()
        if self.state is not before:
            return
        if self.state is State.CONFINING:
            why = (
                f"a child was not ready within {home.READY_S:g} s, its import and setup() included"
            )
            self._blame(Fault(Verdict.UNAVAILABLE, why))
        self._fire(Event.TIME_UP)

    def _on_hangup_late(self) -> None:
        if self.state is not State.RETIRING:
            self._blame(Fault(Verdict.DISCONNECTED))
        self._fire(Event.HANGUP)

    def _on_death(self) -> None:
        self.process.died()
        self._catch_up()
        self._fire(Event.DIED)

    def _catch_up(self) -> None:
        """Before deciding about it: take back what it has not begun, and take what it has sent.

        It is offered again only afterwards. When it has read a call, what came of the one before
        was sent already: so it has one at most now.
        """
        self._is_draining = True
        try:
            self._take_back()
            has_all = self.process.channel.drain()
        finally:
            self._is_draining = False
        if has_all and self._turns.has_ready:
            self.on_broken(_TOO_SOON)
        if self._owes_offer:
            self._loop.call_soon(self.on_turn)

    def _take_back(self) -> None:
        if not self._turns.take_back():
            self._blame(_NEVER_BEGAN)

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
        self._timer.set(home.READY_S, self._on_time_up)
        self.process.channel.open(self._loop)

    def _offer(self) -> None:
        self._timer.clear()
        if self.process.age_s is None:
            self.process.ready()
        if self._is_unwanted:
            self.retire()
        else:
            self._owes_offer = True

    def _send_job(self) -> None:
        if not self._turns.begin():
            self._blame(_NEVER_BEGAN)

    def _go_on(self) -> None:
        self._turns.go_on()

    def _send_warning(self) -> None:
        """The exception may strike between any two instructions: not to be used again."""
        self._is_unwanted = True
        self._turns.at_work().warn()

    def _send_cancel(self) -> None:
        self._timer.set(self.limits.grace_s, self._on_time_up)
        self._turns.at_work().stop(self.fault.verdict if self.fault else Verdict.INTERRUPTED)

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
            self._timer.set(home.REPORT_S, self._on_time_up)

    def _accuse(self) -> None:
        if self.state is State.REQUESTED:
            self._home.accuse(f"a fork request within {home.FORK_S:g} s")
        else:
            self._home.accuse(f"with a dead child's report within {home.REPORT_S:g} s")

    def _bury(self) -> None:
        self._stop_clocks()
        self.process.close()
        while (attempt := self._turns.current) is not None:
            self._settle(attempt.last_words(self.fault))
        self._home.forget(self)
        self.tell(self.listener.on_gone, self._exit())

    def _stop_clocks(self) -> None:
        self.process.watch.close()
        self._turns.close()
        self._timer.clear()
        self._hangup.clear()

    def _reject(self) -> None:
        raise RuntimeError(f"child {self.slot} is {self.state.value}, expected idle")

    # How it ends.

    def _settle(self, outcome: Outcome) -> None:
        """Hand out the call's one outcome, with everything that was printed before it."""
        attempt = self._turns.at_work()
        keeps_rules = self._turns.end()
        if self.state in BUSY:
            self.fault = None
            self._fire(self._after(attempt))
        self.tell(self.listener.on_outcome, attempt.call, outcome)
        if self._turns.current is not None:
            self._turns.tell_next()
        if not keeps_rules:
            self.on_broken(_TOO_SOON)

    def _after(self, attempt: Attempt) -> Event:
        if attempt.is_last:
            return Event.SETTLED_LAST
        return Event.SETTLED if self._turns.current is None else Event.SETTLED_NEXT

    def _exit(self) -> ChildExit:
        facts = self.process.exit(
            expected=self._is_unwanted, ran=self.jobs_run, is_orphan=self._is_orphan
        )
        was_ready = self.process.age_s is not None
        return outcomes.judged(facts, self.process.death, self.fault, was_ready=was_ready)

    def _on_lines(self, stream: str, lines: list[str]) -> None:
        current = self._turns.current
        self.tell(self.listener.on_log, current and current.call, stream, lines)

    _ACTIONS: ClassVar[Mapping[Action, Callable[[Child], None]]] = {
        Action.NOTHING: _nothing,
        Action.LISTEN: _listen,
        Action.OFFER: _offer,
        Action.SEND_JOB: _send_job,
        Action.GO_ON: _go_on,
        Action.SEND_WARNING: _send_warning,
        Action.SEND_CANCEL: _send_cancel,
        Action.SEND_STOP: _send_stop,
        Action.KILL: _kill,
        Action.AWAIT_REPORT: _await_report,
        Action.ACCUSE: _accuse,
        Action.BURY: _bury,
        Action.REJECT: _reject,
    }
