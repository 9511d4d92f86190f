"""When to claim: after claims that failed, and while one is under way."""

from __future__ import annotations

import asyncio

from toril.runtime.claim import Claimed
from toril.supervisor.intake import FIRST_PAUSE_S, Intake

POLL_S = 5.0


def intake() -> Intake:
    yes = lambda: True  # noqa: E731 - two of the same
    nothing = lambda *_: None  # noqa: E731
    return Intake(None, 5000, is_able=yes, has_room=yes, wake=nothing, on_error=nothing)


def pause_s(one: Intake) -> float:
    """How long it leaves claims alone from now on."""
    pause = one._timer.when() - asyncio.get_running_loop().time()
    one._timer.cancel()
    one._pause_over()
    return pause


async def test_pause_after_failed_claims_doubles_and_begins_anew():
    """A connection that broke once is nothing to wait for; a full server must not be hammered."""
    one, pauses = intake(), []
    for _ in range(9):
        one.asked()
        one.failed()
        assert not one.is_open
        pauses.append(pause_s(one))
        assert one.is_open
    wanted = [min(FIRST_PAUSE_S * 2**n, POLL_S) for n in range(9)]
    assert all(abs(pause - due) < 0.02 for pause, due in zip(pauses, wanted, strict=True))
    one.asked()
    one.answered(Claimed())
    one.asked()
    one.failed()
    assert pause_s(one) < 2 * FIRST_PAUSE_S


async def test_an_answer_that_comes_after_the_next_question_says_nothing_about_it():
    one = intake()
    one.asked()
    one.asked()
    one.answered(Claimed(more=True))
    assert not one._answered.is_set()
    assert not one.is_due
    one.answered(Claimed())
    assert one._answered.is_set()
    assert one.has_looked
