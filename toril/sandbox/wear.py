"""How long a child serves: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from toril.sandbox.limits import Limits


class Facts(Protocol):
    """What is looked at; a `Child` has it."""

    @property
    def jobs_run(self) -> int:
        """Calls it was given."""

    @property
    def age_s(self) -> float:
        """Since READY; 0 before."""

    @property
    def rss_growth_bytes(self) -> int | None:
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

    def is_spent(self, child: Facts) -> bool:
        """May it not be given another job, its replacement ready or not?"""
        return self.jobs is not None and child.jobs_run >= self.jobs

    def is_over(self, child: Facts) -> bool:
        """Should it be replaced?"""
        if self.is_spent(child) or (self.age_s is not None and child.age_s >= self.age_s):
            return True
        if self.growth_bytes is None:
            return False
        return (child.rss_growth_bytes or 0) > self.growth_bytes
