"""When a child has served its time: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from toril.units import format_bytes, format_ms

if TYPE_CHECKING:
    from toril.sandbox.limits import Limits


class Facts(Protocol):
    """What is looked at; a `Child` has it."""

    @property
    def jobs_run(self) -> int:
        """Calls it was given."""

    @property
    def ready_at_s(self) -> float | None:
        """When it was READY, by the clock of `now_s`; None before."""

    @property
    def rss_growth_bytes(self) -> int | None:
        """Growth of its resident size since READY, after its last job; None before."""


def worn(limits: Limits, child: Facts, now_s: float, spread: float) -> str:
    """Why a child should be replaced; empty when it should not.

    Args:
        limits: the limits of its pool.
        child: what is known of it.
        now_s: the loop's time.
        spread: the child's own factor on `max_jobs` and `max_age_s`, drawn from 0.9 to 1.1, so
            that children that began together do not all go together.
    """
    if is_spent(limits, child, spread):
        return f"it has run {child.jobs_run} jobs"
    if limits.max_age_s is not None and child.ready_at_s is not None:
        age_s = now_s - child.ready_at_s
        if age_s >= limits.max_age_s * spread:
            return f"it is {format_ms(age_s * 1000)} old"
    most, growth = limits.max_rss_growth_bytes, child.rss_growth_bytes
    if most is not None and growth is not None and growth > most:
        return f"it has grown by {format_bytes(growth)}"
    return ""


def is_spent(limits: Limits, child: Facts, spread: float) -> bool:
    """Whether it may not be given another job, its replacement ready or not."""
    if limits.max_jobs is None:
        return False
    return child.jobs_run >= max(1, round(limits.max_jobs * spread))
