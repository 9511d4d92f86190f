"""Claims that stand in line for a child: short jobs are claimed a little ahead of the children.

With one claim per free child every job costs Redis a script call of its own, and its child waits
for a round trip before the next. How far ahead is *measured*: what stands in line is, in the
mean, at most `AHEAD_S` of work for each child, so nobody could have run it much sooner. Longer jobs
that all take about as long are claimed that much before the one at work is over. A change must
keep: who waits longer than `WAITING_S` all the same, because a job before it overruns, is handed
back, and with it who stands behind.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from toril.runtime.claim import Claim

AHEAD_S = 0.02
"""Work that may stand in line for each child; given: the design's bound."""

MOST_AHEAD = 48
"""Claims in line for each child at most; chosen: a script call costs the server little more than
its jobs from about this many on, and a supervisor that is killed leaves them to stall."""

MOST_READY = 8
"""Of those, how many may lie ready in the hands of a child that is at work; chosen: it goes on for
a millisecond or two without its supervisor, which answers it and Redis together then."""

WAITING_S = 0.1
"""How long a claim may stand in line; given: the design's bound."""

_WEIGHT = 1 / 16
"""Share of the latest run in the mean; chosen: a dozen jobs tell how long they take now."""

_PROOF = 8
"""Short jobs in a row for each claim that may stand in line, or long ones that take as long as each
other; chosen: a queue of few jobs, each of another kind, claims nothing ahead."""


class Pace:
    """How long jobs run in the mean, and so how much work those in line are.

    A job that runs longer than all that may stand in line is the mean at once.

    Attributes:
        run_s: the mean, seconds.
        ahead: claims that may stand in line for each child.
        ready: how many of them may lie ready in its hands.
        nearly_over_s: age of a long job at which the next one may be claimed, because all take
            about as long; None: while none is over.
    """

    def __init__(self) -> None:
        self.run_s = 0.0
        self.ahead = self.ready = 0
        self.nearly_over_s: float | None = None
        self._short = 0
        self._long: deque[float] = deque(maxlen=_PROOF)

    def ran(self, seconds: float) -> None:
        """A job has ended, or has run this long already."""
        if seconds < AHEAD_S:
            self._short += 1
            self.run_s += (seconds - self.run_s) * _WEIGHT
            if self._long:
                self._long.clear()
                self.nearly_over_s = None
        else:
            self._short, self.run_s = 0, max(seconds, self.run_s)
            self._ran_long(seconds)
        most = min(self._short // _PROOF, MOST_AHEAD)
        self.ahead = most if self.run_s * most <= AHEAD_S else int(AHEAD_S / self.run_s)
        self.ready = min(MOST_READY, self.ahead // 2)

    def _ran_long(self, seconds: float) -> None:
        self._long.append(seconds)
        least, most = min(self._long), max(self._long)
        is_steady = len(self._long) == _PROOF and most - least <= AHEAD_S
        self.nearly_over_s = least - AHEAD_S if is_steady else None


class Standing(NamedTuple):
    """A claim, and since when it waits (`time.monotonic`)."""

    since_s: float
    claim: Claim


class Line:
    """First come, first served, by whichever child is idle next.

    Args:
        on_overdue: told when the first has stood here for `WAITING_S`: all are out of the line
            then, in the order in which they stood.
    """

    def __init__(self, on_overdue: Callable[[list[Claim]], None]) -> None:
        self._on_overdue = on_overdue
        self._claims: deque[Standing] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Claims that stand here."""
        return len(self._claims)

    def append(self, claim: Claim) -> None:
        """To the end."""
        self._claims.append(Standing(time.monotonic(), claim))
        if self._timer is None:
            self._look_in(WAITING_S)

    @property
    def first(self) -> Claim:
        """Who is next; there must be one."""
        return self._claims[0].claim

    def pop(self) -> Standing:
        """Take out who is next; there must be one."""
        return self._claims.popleft()

    def put_back(self, standing: Iterable[Standing]) -> None:
        """To the front, in this order: they have waited longest."""
        self._claims.extendleft(reversed(list(standing)))
        if self._timer is not None:
            self._timer.cancel()
        self._look_in(0.0)

    def remove(self, claim: Claim) -> bool:
        """Take this one out; False where it does not stand here."""
        rest = deque(one for one in self._claims if one.claim is not claim)
        is_here, self._claims = len(rest) < len(self._claims), rest
        return is_here

    def clear(self) -> list[Claim]:
        """Take out all."""
        claims = [one.claim for one in self._claims]
        self._claims.clear()
        return claims

    def hand_back_overdue(self) -> None:
        """Hand all back if the first has been here for too long: after a pause timers are late."""
        if self._claims and self._claims[0].since_s <= time.monotonic() - WAITING_S:
            self._on_overdue(self.clear())

    def _look_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """One timer for all: it wakes for whoever was first when it was set."""
        self._timer = None
        self.hand_back_overdue()
        if self._claims:
            self._look_in(max(0.0, self._claims[0].since_s + WAITING_S - time.monotonic()))
