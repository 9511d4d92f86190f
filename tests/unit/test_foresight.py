"""Which long jobs are nearly over, and what is made of it."""

from __future__ import annotations

import asyncio

from tests.unit.test_ahead import QUEUE, room
from toril.supervisor import foresight
from toril.supervisor.foresight import Foresight


async def test_who_began_is_nearly_over_after_a_time_and_then_overdue(monkeypatch):
    """A job that hangs is not nearly over for ever."""
    monkeypatch.setattr(foresight, "OVERDUE_S", 0.02)
    told = asyncio.Event()
    seen = Foresight(told.set)
    seen.begin("child", 0.01)
    assert len(seen) == 0
    await told.wait()
    assert len(seen) == 1
    await asyncio.sleep(0.05)
    assert len(seen) == 0
    seen.end("child")


async def test_who_ends_before_that_is_never_nearly_over():
    told = []
    seen = Foresight(lambda: told.append(1))
    seen.begin("early", 0.01)
    seen.begin("late", 0.01)
    seen.end("early")
    seen.end("unknown")
    await asyncio.sleep(0.03)
    assert (len(seen), len(told)) == (1, 1)
    seen.end("late")
    assert len(seen) == 0


async def test_one_claim_for_each_that_is_nearly_over():
    """And children go on without a claim for a moment only if there is one for each of them."""
    attempts = await room()
    for _ in range(8):
        attempts._pace.ran(0.05)
    assert attempts.room == 0
    for child in ("a", "b"):
        attempts._foresight._nearly_over.add(child)
    assert attempts.room == 2
    attempts._line.append("claim")
    assert attempts.room == 1
    assert not attempts.is_fed
    attempts._line.append("claim")
    assert attempts.room == 0
    assert attempts.is_fed
    assert QUEUE.concurrency == 2
    attempts._line._timer.cancel()
