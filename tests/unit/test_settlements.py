"""Endings until Redis has them: what is known of one whose first sending may have been recorded."""

from __future__ import annotations

import math

import pytest

from toril.call import Outcome, Verdict
from toril.events import Event, JobSettled, SettlementRefused
from toril.runtime.claim import Claim
from toril.runtime.lock import LockKeeper
from toril.runtime.options import JobOpts, KeepRule
from toril.runtime.retry import Policy
from toril.runtime.settling import Settled
from toril.supervisor.settlements import Settlements

KEPT, REMOVED = JobOpts(), JobOpts(remove_on_complete=KeepRule(count=0))


def parts() -> tuple[Settlements, LockKeeper, list[Event]]:
    """Settlements, the keeper of their claims, and what they tell."""
    told: list[Event] = []
    keeper = LockKeeper(None, 30_000, None, interval_s=math.inf)
    return Settlements("q", Policy(), keeper, told.append), keeper, told


def claim(job_id: str = "1", opts: JobOpts = KEPT) -> Claim:
    return Claim(job_id, f"t:{job_id}", "n", opts=opts)


@pytest.mark.parametrize(
    ("opts", "is_repeated", "kind"),
    [
        (REMOVED, True, JobSettled),
        (KEPT, True, SettlementRefused),
        (REMOVED, False, SettlementRefused),
    ],
)
async def test_a_job_may_be_gone_only_if_its_recorded_end_removes_it(opts, is_repeated, kind):
    settlements, keeper, told = parts()
    keeper.hold([one := claim(opts=opts)])
    settlements.add(one, Outcome(Verdict.RETURNED))
    if is_repeated:
        settlements.put_back(settlements.take())
    endings = settlements.take()
    settlements.settled(endings, [Settled.GONE])
    assert [type(event) for event in told] == [kind]
    assert not keeper.holds(one)


async def test_what_was_sent_and_not_answered_may_be_recorded():
    """So that its lock may be gone for that; before it was sent, for no good reason."""
    settlements, _keeper, _told = parts()
    settlements.add(one := claim(), Outcome(Verdict.RETURNED))
    assert settlements.has(one)
    assert not settlements.is_sent(one)
    endings = settlements.take()
    assert settlements.is_sent(one)
    settlements.put_back(endings)
    assert settlements.is_sent(one)
    settlements.settled(settlements.take(), [Settled.DONE])
    assert not settlements.is_sent(one)
    assert not settlements.has(one)


async def test_endings_of_two_round_trips_are_known_by_themselves():
    """The second leaves before the first is answered."""
    settlements, _keeper, told = parts()
    first, second = claim("1"), claim("2")
    settlements.add(first, Outcome(Verdict.RETURNED))
    earlier = settlements.take()
    settlements.add(second, Outcome(Verdict.RETURNED))
    later = settlements.take()
    settlements.settled(earlier, [Settled.DONE])
    assert (settlements.has(first), settlements.has(second)) == (False, True)
    settlements.settled(later, [Settled.DONE])
    assert [event.job_id for event in told] == ["1", "2"]
    assert settlements.unrecorded == 0
