"""Who claims nothing ahead, however short the jobs are."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from toril.call import Outcome, Verdict
from toril.errors import SandboxUnavailable
from toril.runtime.claim import Claim
from toril.runtime.retry import Policy
from toril.sandbox.levels import Level
from toril.sandbox.limits import Limits
from toril.supervisor.attempts import Attempts
from toril.supervisor.line import MOST_AHEAD
from toril.supervisor.reports import Reports
from toril.supervisor.settings import QueueSettings

QUEUE = QueueSettings("q", "app:run", concurrency=2)


async def room(queue: QueueSettings = QUEUE, policy: Policy | None = None) -> Attempts:
    """Attempts of a queue whose jobs have all been short; no child has been started."""
    attempts = Attempts(queue, policy or Policy(), Reports("q", print), None, lambda _event: None)
    for _ in range(1000):
        attempts._pace.ran(0.0001)
    return attempts


async def test_short_jobs_are_claimed_ahead_for_each_child():
    assert (await room()).room == 2 * MOST_AHEAD


@pytest.mark.parametrize(
    "queue",
    [replace(QUEUE, level=Level.STRICT), replace(QUEUE, limits=Limits(max_jobs=1))],
    ids=["strict", "one job a child"],
)
async def test_a_child_that_runs_one_job_has_no_next_one(queue):
    assert (await room(queue)).room == 0


async def test_where_starts_are_counted_nothing_is_started_for_nothing():
    """What goes back from the line has been started, as far as Redis knows."""
    assert (await room(policy=Policy(max_started_attempts=3))).room == 0


async def test_nothing_is_claimed_while_no_child_can_be_had():
    attempts = await room()
    attempts._listener = _Nobody()
    attempts.on_unavailable(SandboxUnavailable("no zygote"))
    assert attempts.room == 0
    attempts.on_available()
    assert attempts.room > 0


async def test_a_cancelled_job_that_ends_as_it_is_taken_back_is_not_waited_for():
    attempts = await room()
    attempts._listener = _Nobody()
    claim = Claim("1", "t:1", "n")

    class Ending:
        """It has sent its result, which is read before anything is decided about it."""

        def recall(self) -> None:
            attempts.on_outcome(self, None, Outcome(Verdict.RETURNED))

    attempts._begin(Ending(), claim)
    attempts.cancel(claim)
    assert not attempts
    assert attempts._cancelled == set()


async def test_a_job_that_is_cancelled_before_it_starts_does_not_start():
    attempts = await room()
    ends = []
    attempts._listener = SimpleNamespace(
        on_end=lambda claim, outcome: ends.append((claim, outcome))
    )
    claim = Claim("1", "t:1", "n")
    attempts.cancel(claim)
    attempts.start(claim)
    assert [(one, outcome.verdict) for one, outcome in ends] == [(claim, Verdict.CANCELLED)]
    assert attempts._cancelled == set()


class _Nobody:
    def __getattr__(self, name: str):
        return lambda *_: None
