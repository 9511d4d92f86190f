"""How far a worker is on its way out, and what follows from it; it never goes back."""

from __future__ import annotations

import enum

LAST_TRY_S = 5.0
"""How long after the drain deadline results are still offered to a Redis that is away; chosen."""


class Step(enum.Enum):
    """What a worker does about its jobs."""

    WORKING = enum.auto()
    DRAINING = enum.auto()
    INTERRUPTED = enum.auto()


class Stage:
    """The step, and whether a working one is quiet; times are seconds on the loop's clock.

    Attributes:
        step: where it is.
        is_quiet: it was told to claim nothing for now.
    """

    def __init__(self) -> None:
        self.step = Step.WORKING
        self.is_quiet = False
        self._give_up_at_s = self._adopt_until_s = float("inf")

    @property
    def is_working(self) -> bool:
        """Is it not on its way out?"""
        return self.step is Step.WORKING

    @property
    def is_claiming(self) -> bool:
        """May a job be claimed?"""
        return self.is_working and not self.is_quiet

    @property
    def words(self) -> str:
        """For people."""
        return "quiet" if self.is_quiet else self.step.name.lower()

    def drain(self, now_s: float, timeout_s: float) -> None:
        """Running jobs have this long."""
        self.step, self.is_quiet = Step.DRAINING, False
        self._give_up_at_s = now_s + timeout_s + LAST_TRY_S
        self._adopt_until_s = now_s + LAST_TRY_S

    def interrupt(self) -> bool:
        """Their time is over; False if it was before."""
        was_draining = self.step is Step.DRAINING
        self.step = Step.INTERRUPTED
        return was_draining

    def hurry(self, now_s: float) -> None:
        """Their time is over by somebody's word, and so is the wait for Redis, soon."""
        self.step = Step.INTERRUPTED
        self._give_up_at_s = now_s + LAST_TRY_S

    def is_worth_recovering(self, now_s: float, *, has_work: bool, has_unconfirmed: bool) -> bool:
        """Should a Redis that is away be waited for?"""
        if self.is_working:
            return True
        if has_work:
            return now_s < self._give_up_at_s
        return has_unconfirmed and now_s < self._adopt_until_s
