"""Who is among the children of a pool, who is to be replaced, and by whom.

A successor is forked first and takes over when it is idle, so that capacity never dips; the pool
forks and ends children, here it is only noted. A change must keep: a child has one successor at
most, and a child that is forgotten is in no pair.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from toril.sandbox.wear import Service

if TYPE_CHECKING:
    from toril.sandbox.handle import Child
    from toril.sandbox.limits import Limits

SPREAD = (0.9, 1.1)
"""Range of the factor on a child's `max_jobs` and `max_age_s`; chosen: children that begin
together do not all go together, and a limit still means what it says."""


class Succession:
    """Children with what each serves for.

    Attributes:
        services: child → what it serves for; all children, those on their way in or out included.
        successors: child → who takes over from it, forked and not idle yet.
    """

    def __init__(self) -> None:
        self.services: dict[Child, Service] = {}
        self.successors: dict[Child, Child] = {}
        self._outdated: set[Child] = set()

    @property
    def slots(self) -> set[int]:
        """Those that have a child."""
        return {child.slot for child in self.services}

    def add(self, child: Child, limits: Limits) -> None:
        """A new child; it serves for about as long as the limits say."""
        spread = random.uniform(*SPREAD)  # noqa: S311 - no secret
        self.services[child] = Service.of(limits, spread)

    def forget(self, child: Child) -> None:
        """It is gone."""
        self.services.pop(child, None)
        self._outdated.discard(child)
        self.successors = {
            old: new for old, new in self.successors.items() if child not in {old, new}
        }

    def is_spent(self, child: Child) -> bool:
        """May it not be given another job, its successor ready or not?"""
        return self.services[child].is_spent(child.jobs_run)

    def needs_successor(self, child: Child) -> bool:
        """Is it worn or outdated, and has nobody to take over from it?"""
        is_worn = self.services[child].is_over(child.jobs_run, child.process)
        return (is_worn or child in self._outdated) and child not in self.successors

    def begin_anew(self) -> None:
        """All that there are is outdated, and who was to take over from whom means nothing now."""
        self._outdated = set(self.services)
        self.successors.clear()

    def outdated(self) -> tuple[list[Child], list[Child]]:
        """The newest outdated child of each slot, which is to have a successor; and the others."""
        newest = {child.slot: child for child in self.services if child in self._outdated}
        others = [child for child in self._outdated if newest[child.slot] is not child]
        return list(newest.values()), others

    def take_over(self, successor: Child) -> list[Child]:
        """Who goes now that this child is idle."""
        going = [old for old, new in self.successors.items() if new is successor]
        for old in going:
            del self.successors[old]
        return going
