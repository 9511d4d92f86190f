"""Healthy means consuming: one predicate over what a worker knows of itself; pure.

Whatever asks (a health endpoint, a service manager's watchdog) asks this, so that they cannot
disagree. It never asks Redis anything itself: a probe must not depend on what it probes.
"""

from __future__ import annotations

from dataclasses import dataclass

LOOP_LATE_S = 5.0
"""The loop turned this long ago: something blocks it; chosen: locks are renewed more often."""

TURNS_LATE = 3
"""How many times in a row Redis may be silent, or an idle child be left, when its time is up;
chosen."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a worker knows of itself; times are seconds on the loop's clock.

    Attributes:
        now_s: when it is asked.
        turned_s: when the loop last turned.
        answered_s: when Redis last answered anything.
        claimed_s: when a claim was last answered.
        could_claim_s: since when it could have claimed (a child is free, nothing forbids it);
            None while it could not.
        unavailable_s: since when no child can be had; None while one can.
        poll_s: the longest pause between two claims of an idle worker.
        quiet_s: the longest pause between two answers of a Redis that is well.
    """

    now_s: float
    turned_s: float
    answered_s: float
    claimed_s: float
    could_claim_s: float | None
    unavailable_s: float | None
    poll_s: float
    quiet_s: float


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong.

    Attributes:
        text: what it is, for people.
        is_stuck: a restart is the remedy; not so where Redis or the host has to be mended first.
    """

    text: str
    is_stuck: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """The answer: healthy when there is nothing to complain of.

    Attributes:
        complaints: what is wrong, worst first.
        dropped_events: events that listeners did not get; nothing that harms a job.
        is_quiet: it was told to claim nothing, and is no less healthy for it.
    """

    complaints: tuple[Complaint, ...] = ()
    dropped_events: int = 0
    is_quiet: bool = False

    @property
    def is_healthy(self) -> bool:
        """Is the worker consuming, or able to?"""
        return not self.complaints

    @property
    def is_live(self) -> bool:
        """Would a restart do no good? Never false for a Redis that is away."""
        return not any(complaint.is_stuck for complaint in self.complaints)


def examine(vitals: Vitals) -> Health:
    """Everything that is wrong, worst first."""
    now_s = vitals.now_s
    complaints = []
    if (late_s := now_s - vitals.turned_s) > LOOP_LATE_S:
        complaints.append(
            Complaint(f"the event loop last turned {late_s:.1f} s ago", is_stuck=True)
        )
    is_redis_late = (late_s := now_s - vitals.answered_s) > TURNS_LATE * vitals.quiet_s
    if is_redis_late:
        complaints.append(Complaint(f"Redis last answered {late_s:.1f} s ago"))
    if vitals.unavailable_s is not None:
        complaints.append(
            Complaint(f"no child can be had for {now_s - vitals.unavailable_s:.1f} s")
        )
    if vitals.could_claim_s is not None:
        late_s = now_s - max(vitals.claimed_s, vitals.could_claim_s)
        if late_s > TURNS_LATE * vitals.poll_s:
            text = f"children are free and nothing was claimed for {late_s:.1f} s"
            complaints.append(Complaint(text, is_stuck=not is_redis_late))
    return Health(tuple(complaints))
