"""How long a child serves: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from toril.sandbox.limits import Limits


class Facts(Protocol):
    """What is looked at of a child; its `Process` has it."""

    @property
    def age_s(self) -> float | None:
        """Since READY; None before."""

    @property
    def growth_bytes(self) -> int | None:
        """Growth of its resident size since READY, after its last job; None before."""


class Service(NamedTuple):
    """What one child serves for, whichever of them is over first; None: no bound.

    Attributes:
        jobs: attempts.
        age_s: seconds since READY.
        growth_bytes: growth of its resident size.
    """

    jobs: int | None
    age_s: float | None
    growth_bytes: int | None

    @classmethod
    def of(cls, limits: Limits, spread: float) -> Service:
        """By the limits of its pool.

        Args:
            limits: as above.
            spread: the child's own factor on jobs and age, drawn from 0.9 to 1.1, so that children
                that began together do not all go together.
        """
        return cls(
            None if limits.max_jobs is None else max(1, round(limits.max_jobs * spread)),
            None if limits.max_age_s is None else limits.max_age_s * spread,
            limits.max_rss_growth_bytes,
        )

    def is_spent(self, jobs: int) -> bool:
        """May it not be given another job after so many, its replacement ready or not?"""
        return self.jobs is not None and jobs >= self.jobs

    def is_over(self, jobs: int, process: Facts) -> bool:
        """Should it be replaced?"""
        if self.is_spent(jobs):
            return True
        if self.age_s is not None and (process.age_s or 0) >= self.age_s:
            return True
        return self.growth_bytes is not None and (process.growth_bytes or 0) > self.growth_bytes
