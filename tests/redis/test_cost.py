"""How many Redis commands a plain job costs: what every job pays, and what no change may raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.lane import RETURNED, Lane
from toril.runtime.retry import Complete
from toril.runtime.settling import Ending, Settled, settle_all

if TYPE_CHECKING:
    from collections.abc import Callable

ADD_MAX = 12
"""Measured, of a standard job, the call itself included: four read, seven write."""
CLAIM_MAX = 24
"""Measured; twelve of them look whether a key has the type that it must have."""
CLAIM_MORE_MAX = 7
"""Measured: two lengths, one look at the hash, the move, the lock, the event, the hash."""
COMPLETE_MAX = 19
"""Measured; eight of them look whether a key has the type that it must have."""
COMPLETE_MORE_MAX = 4
"""Measured: one look at the hash, out of `active`, the hash, the event."""


def cost(lane: Lane, act: Callable[[], object]) -> int:
    """Commands that the server executes meanwhile, those inside scripts included."""
    before = _calls(lane)
    act()
    return _calls(lane) - before


def _calls(lane: Lane) -> int:
    stats = lane.client.info("commandstats")
    return sum(value["calls"] for name, value in stats.items() if name != "cmdstat_info")


def test_adding_a_standard_job_costs_no_more_than_it_did(lane: Lane) -> None:
    """Most of a script's time is the commands that it executes."""
    lane.add()

    assert cost(lane, lane.add) <= ADD_MAX


def test_claim_of_a_plain_job_costs_no_more_than_it_did(lane: Lane) -> None:
    """Most of a script's time is the commands that it executes."""
    lane.claim_new()
    lane.add()

    assert cost(lane, lane.claim) <= CLAIM_MAX


def test_each_further_job_of_a_claim_costs_no_more_than_it_did(lane: Lane) -> None:
    lane.claim_new()
    for _ in range(11):
        lane.add()

    alone, ten = cost(lane, lane.claim), cost(lane, lambda: lane.claim(10))

    assert ten - alone <= 9 * CLAIM_MORE_MAX


def test_end_of_a_plain_job_costs_no_more_than_it_did(lane: Lane) -> None:
    """Most of a script's time is the commands that it executes."""
    lane.settle(lane.claim_new(), Complete(), RETURNED)
    assert cost(lane, ending_of(lane, 1)) <= COMPLETE_MAX


def test_each_further_end_of_a_call_costs_no_more_than_it_did(lane: Lane) -> None:
    lane.settle(lane.claim_new(), Complete(), RETURNED)

    alone, ten = cost(lane, ending_of(lane, 1)), cost(lane, ending_of(lane, 10))

    assert ten - alone <= 9 * COMPLETE_MORE_MAX


def ending_of(lane: Lane, count: int) -> Callable[[], object]:
    """One call that completes so many jobs, while another waits, as under load."""
    for number in range(count + 1):
        lane.wait(f"job-{count}-{number}")
    endings = [Ending(claim, Complete(), RETURNED) for claim in lane.claim(count).claims]
    (batch,) = settle_all(lane.base, endings, now_ms=lane.now_ms)

    def complete() -> None:
        assert lane.run(batch.command) == [Settled.DONE] * count

    return complete
