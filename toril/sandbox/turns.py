"""The calls of one child, one after another: the one at work, and those that lie ready behind it.

What is asked of a child is decided in `handle.py`; here it is known which call that is about. A
change must keep: what a child prints while calls lie ready is read only when it has said that it
printed, or when nothing lies ready any more, so that every line is told of the call it belongs to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toril.sandbox.alarm import Alarm
from toril.sandbox.attempt import Attempt
from toril.sandbox.prefetch import OVERRUN_S

if TYPE_CHECKING:
    import asyncio

    from toril.call import Call
    from toril.sandbox.handle import Child

_QUIET_JOBS = 100
"""Nothing is laid ready for so many jobs after one that has printed; chosen: those of its kind
print mostly, and what lay ready then was laid there in vain."""


class Turns:
    """Whose turn it is in one child.

    Attributes:
        current: the call at work; None without one.
        count: calls that the child was given, those that lie ready among them.
    """

    def __init__(self, child: Child, loop: asyncio.AbstractEventLoop) -> None:
        self.current: Attempt | None = None
        self.count = 0
        self._child = child
        self._process = child.process
        self._prefetch = child.process.prefetch
        self._overrun = Alarm(loop)
        self._is_reserved = False
        self._quiet_from = 0

    @property
    def has_ready(self) -> bool:
        """Does anything lie ready, or has the child read it already?"""
        return bool(self._prefetch)

    def give(self, call: Call) -> None:
        """The child is idle: this one is next."""
        self.count += 1
        self._process.capture.begin()
        self.current = Attempt(self._child, call)

    def begin(self) -> bool:
        """Send it; its deadlines count from now. False when the child does not listen."""
        attempt = self.at_work()
        attempt.start()
        return (not self._is_reserved and self._prefetch.send(attempt)) or self._stream(attempt)

    def at_work(self) -> Attempt:
        """The call at work; there must be one."""
        if self.current is None:
            raise AssertionError("a busy child has a call")
        return self.current

    def lay_ready(self, call: Call) -> bool:
        """Give the child one behind the one at work; False where that cannot be."""
        if not self._may_lay_ready() or not self._prefetch.put(Attempt(self._child, call)):
            return False
        self.count += 1
        if not self._process.capture.is_paused:
            self._process.capture.pause()
            self._overrun.set(OVERRUN_S, self._on_overrun)
        return True

    def take_back(self) -> bool:
        """Take back what it has not read; False: the call at work was among it, and nobody listens.

        That one goes another way, unless the child has gone on with one behind it in this very
        moment: then that is at work.
        """
        current, prefetch = self.current, self._prefetch
        taken = prefetch.take_back(current)
        is_heard, has_gone_on = True, False
        if current is not None and current in taken:
            has_gone_on = bool(prefetch)
            if not has_gone_on:
                taken.remove(current)
                is_heard = self._stream(current)
        self.count -= len(taken)
        if taken:
            self._child.tell(self._child.listener.on_recalled, [one.call for one in taken])
        if has_gone_on and current is not None:
            current.close()
            self.current = prefetch.pop()
            self.go_on()
            self.tell_next()
        return is_heard

    def end(self) -> bool:
        """The call at work is over, the next one is at work; False: the child should not have one.

        Everything that was printed before is handed out.
        """
        attempt, capture = self.at_work(), self._process.capture
        is_last_for_now = attempt.is_last or attempt.has_printed
        if is_last_for_now:
            self.take_back()
        capture.end(may_wait=not attempt.has_printed)
        if attempt.has_printed:
            self._is_reserved, self._quiet_from = True, self.count + _QUIET_JOBS
        attempt.close()
        self.current = self._prefetch.pop()
        return not (is_last_for_now and self.current)

    def go_on(self) -> None:
        """The child has begun the one that is at work now."""
        self._process.capture.renew()
        self.at_work().start()
        self._overrun.set(OVERRUN_S, self._on_overrun)

    def tell_next(self) -> None:
        """Say which call is at work now."""
        self._child.tell(self._child.listener.on_next, self.at_work().call)

    def close(self) -> None:
        """The child ends."""
        self._overrun.clear()

    def _stream(self, attempt: Attempt) -> bool:
        self._is_reserved = False
        return attempt.send()

    def _may_lay_ready(self) -> bool:
        """Not behind one that has been at work for long, nor where output has to be told apart."""
        current, meter = self.current, self._process.meter
        return (
            current is not None
            and not current.is_streamed
            and self.count >= self._quiet_from
            and meter is not None
            and meter.wall_ms < OVERRUN_S * 1000
        )

    def _on_overrun(self) -> None:
        self._process.capture.resume()
        self._child.recall()
