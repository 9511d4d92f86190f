"""How many Redis commands a plain job costs: what every job pays, and what no change may raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.lane import RETURNED, Lane
from toril.runtime.retry import Complete
from toril.runtime.settling import Settled

if TYPE_CHECKING:
    from collections.abc import Callable

CLAIM_MAX = 29
"""Measured; eleven of them look whether a key has the type that it must have."""
COMPLETE_MAX = 33
"""Measured; nine of them look whether a key has the type that it must have."""


def cost(lane: Lane, act: Callable[[], object]) -> int:
    """Commands that the server executes meanwhile, those inside scripts included."""
    before = _calls(lane)
    act()
    return _calls(lane) - before


def _calls(lane: Lane) -> int:
    stats = lane.client.info("commandstats")
    return sum(value["calls"] for name, value in stats.items() if name != "cmdstat_info")


def test_claim_of_a_plain_job_costs_no_more_than_it_did(lane: Lane) -> None:
    """Most of a script's time is the commands that it executes."""
    lane.claim_new()
    lane.add()

    assert cost(lane, lane.claim) <= CLAIM_MAX


def test_end_of_a_plain_job_costs_no_more_than_it_did(lane: Lane) -> None:
    """Most of a script's time is the commands that it executes."""
    lane.settle(lane.claim_new(), Complete(), RETURNED)
    claim = lane.claim_new()

    def complete() -> None:
        assert lane.settle(claim, Complete(), RETURNED) is Settled.DONE

    assert cost(lane, complete) <= COMPLETE_MAX
