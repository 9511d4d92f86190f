"""How far ahead is claimed, and who stands in line."""

from __future__ import annotations

import asyncio

import pytest

from toril.runtime.claim import Claim
from toril.supervisor.line import AHEAD_S, MOST_AHEAD, WAITING_S, Line, Pace


def paced(*runs_s: float) -> Pace:
    pace = Pace()
    for run_s in runs_s:
        pace.ran(run_s)
    return pace


def test_nothing_is_claimed_ahead_before_short_jobs_have_been_seen():
    """The next one may be of any kind."""
    assert [paced(*[0.001] * count).ahead for count in (0, 1, 7, 8, 16)] == [0, 0, 0, 1, 2]


@pytest.mark.parametrize("run_ms", [0, 0.2, 1, 2, 5, 9, 19, 20, 30])
def test_never_more_than_the_bound_of_work_stands_in_line(run_ms):
    """Whatever jobs take, what waits for a child is done by it within the bound."""
    ahead = paced(*[run_ms / 1000] * 1000).ahead
    assert ahead <= MOST_AHEAD
    assert ahead * run_ms / 1000 <= AHEAD_S
    assert (ahead > 0) == (run_ms < AHEAD_S * 1000)


def test_one_long_job_ends_claiming_ahead():
    """And short ones have to prove themselves again."""
    pace = paced(*[0.001] * 1000)
    pace.ran(1.0)
    assert pace.ahead == 0
    for _ in range(7):
        pace.ran(0.001)
    assert pace.ahead == 0


def test_long_jobs_that_take_as_long_as_each_other_are_foreseen():
    """Who is claimed then waits about as long as anybody in line."""
    assert paced(*[0.05] * 7).nearly_over_s is None
    assert paced(*[0.05] * 8).nearly_over_s == pytest.approx(0.05 - AHEAD_S)
    assert paced(*[0.06, 0.05] * 4).nearly_over_s == pytest.approx(0.05 - AHEAD_S)
    assert paced(*[0.05] * 8).ahead == 0


@pytest.mark.parametrize("other_s", [0.001, 0.05 - AHEAD_S - 0.001, 0.05 + AHEAD_S + 0.001, 10.0])
def test_one_that_is_not_like_the_others_ends_that(other_s):
    pace = paced(*[0.05] * 20, other_s)
    assert pace.nearly_over_s is None
    for _ in range(7):
        pace.ran(0.05)
    assert pace.nearly_over_s is None
    pace.ran(0.05)
    assert pace.nearly_over_s is not None


async def test_the_line_is_served_in_order_and_lets_one_out():
    """Nobody is handed back who left in time."""
    handed_back: list[list[Claim]] = []
    line, claims = Line(handed_back.append), [Claim(str(n), f"t:{n}", "n") for n in range(4)]
    for claim in claims:
        line.append(claim)
    assert line.remove(claims[1])
    assert not line.remove(claims[1])
    assert [line.pop().claim, line.pop().claim] == [claims[0], claims[2]]
    assert line.clear() == [claims[3]]
    assert not line
    await asyncio.sleep(0)
    assert handed_back == []


async def test_who_waits_too_long_is_handed_back_with_all_behind():
    """One timer serves all, and it is set anew for who comes later."""
    loop, came = asyncio.get_running_loop(), asyncio.Queue()
    line = Line(came.put_nowait)
    began_s = loop.time()
    claims = [Claim(str(n), f"t:{n}", "n") for n in range(4)]
    for claim in claims[:3]:
        line.append(claim)
    assert line.pop().claim is claims[0]
    assert await came.get() == claims[1:3]
    assert WAITING_S - 0.01 < loop.time() - began_s < WAITING_S + 0.1
    line.append(claims[3])
    assert await came.get() == [claims[3]]
