"""The promise of the rate limit, for any history: in no window do more jobs start than its bucket's
brim at the window's beginning plus what was refilled since, by the server's clock.

Several supervisors claim, jobs are given back, limits change, configurations are offered, the clock
runs, stands and steps back; every window is checked against a bound that knows nothing of how the
script counts. What counts as elapsed is the sum of the clock's forward movement.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.lane import START_MS, Lane
from toril.call import Outcome, Verdict
from toril.runtime.limiter import RateLimit, offer_limit, set_limit
from toril.runtime.retry import Counts, Delay, GiveBack, Hold

if TYPE_CHECKING:
    from toril.runtime.claim import Claim
    from toril.runtime.command import Command

JOBS = 60

limits = st.builds(
    RateLimit,
    tokens=st.integers(1, 12),
    per_ms=st.sampled_from([1, 7, 100, 1000, 3333, 60_000]),
    burst=st.integers(1, 8),
    revision=st.integers(0, 3),
)
steps = st.one_of(
    st.tuples(st.just("claim"), st.integers(1, 5), st.none() | limits),
    st.tuples(st.just("claim"), st.integers(1, 5), st.none()),
    st.tuples(st.just("set"), limits),
    st.tuples(st.just("offer"), limits),
    st.tuples(st.just("give back"), st.sampled_from([GiveBack(Counts.NOTHING), Hold(0), Delay(0)])),
    st.tuples(st.just("clock"), st.sampled_from([1, 2, 9, 40, 143, 500, 1000, 61_000])),
    st.tuples(st.just("clock"), st.sampled_from([-1, -30, -5000])),
)


@dataclass
class Window:
    """From one moment on: how many starts are allowed, and how many there were."""

    allowed: Fraction
    started: int = 0


@dataclass
class Play:
    """A lane on which steps are played, and every window that has begun."""

    lane: Lane
    first: RateLimit
    in_force: RateLimit = field(init=False)
    windows: list[Window] = field(default_factory=list)
    active: list[Claim] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.in_force = self.first
        self._limit(set_limit(self.lane.base, self.first))

    def claim(self, count: int, configured: RateLimit | None) -> None:
        """One supervisor claims; it may bring a configuration of its own."""
        if configured is not None and configured.revision > self.in_force.revision:
            self.in_force = configured
        self.windows.append(Window(Fraction(self.in_force.burst)))
        claims = self.lane.claim(count, limit=configured).claims
        self.active += claims
        for window in self.windows:
            window.started += len(claims)
            assert window.started <= window.allowed

    def set(self, limit: RateLimit) -> None:
        self._limit(set_limit(self.lane.base, limit))

    def offer(self, limit: RateLimit) -> None:
        self._limit(offer_limit(self.lane.base, limit))

    def give_back(self, settlement: GiveBack | Hold | Delay) -> None:
        """A start that did not come to anything; its token is spent all the same."""
        if self.active:
            self.lane.settle(self.active.pop(0), settlement, Outcome(Verdict.UNAVAILABLE))

    def clock(self, ms: int) -> None:
        self.lane.now_ms += ms
        for window in self.windows:
            window.allowed += Fraction(max(ms, 0) * self.in_force.tokens, self.in_force.per_ms)

    def _limit(self, command: Command[RateLimit | None]) -> None:
        in_force = self.lane.run(
            type(command)(
                command.script,
                command.keys,
                (self.lane.now_ms, *command.args[1:]),
                command.parse,
            )
        )
        assert in_force is not None
        self.in_force = in_force


@pytest.mark.timeout(120)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(first=limits, played=st.lists(steps, min_size=5, max_size=40))
def test_no_window_sees_more_starts_than_burst_plus_rate(lane: Lane, first, played) -> None:
    lane.client.flushall()
    lane.now_ms = START_MS
    for number in range(JOBS):
        lane.wait(f"j{number}")
    play = Play(lane, first)
    for name, *arguments in played:
        getattr(play, name.replace(" ", "_"))(*arguments)


def test_bound_is_reached(lane: Lane) -> None:
    """The property above can fail: nothing less than the promise is what the bucket gives."""
    for number in range(JOBS):
        lane.wait(f"j{number}")
    play = Play(lane, RateLimit(tokens=10, per_ms=1000, burst=5))
    play.claim(50, None)
    for _ in range(20):
        play.clock(100)
        play.claim(50, None)
    assert play.windows[0].started == play.windows[0].allowed == 25
