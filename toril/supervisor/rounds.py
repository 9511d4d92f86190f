"""The worker's round trips to Redis: what leaves together, what comes back, what if nothing does.

A round trip carries reports, then endings, then a claim. It leaves at once when there is something
to say, except where children have their next jobs in line: then what they finish gathers for a
moment, because a script call for sixteen jobs costs Redis about a quarter of sixteen calls. While
children have ended more jobs meanwhile, what one round trip brought is taken when the next one is
on its way: else Redis rests while we read, and we while it works. A change must keep: with nothing
in line nothing is held back, and a claim is held by the lock keeper from the tick it arrives.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from toril import events as ev
from toril.call import Outcome, Verdict
from toril.errors import RedisUnavailable, TorilError
from toril.runtime.claim import Claimed, ClaimRequest
from toril.supervisor.recovery import is_late, reach_again, renew_if_late

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from toril.runtime.claim import Claim
    from toril.runtime.lock import LockKeeper
    from toril.runtime.store import Store, Trip
    from toril.supervisor.attempts import Attempts
    from toril.supervisor.intake import Intake
    from toril.supervisor.reports import Reports
    from toril.supervisor.settings import QueueSettings
    from toril.supervisor.settlements import Settlements
    from toril.supervisor.stage import Stage
    from toril.supervisor.troubles import Troubles

BATCH = 32
"""Endings that leave at once, whatever stands in line; chosen: more together
cost the server little less each."""

MOST_AT_ONCE = 64
"""Jobs of one claim, if not more children are free; chosen: 64 take the server two milliseconds."""

GATHER_S = 0.005
"""How long an ending may gather company; chosen: a quarter of the work that may stand in line."""

NEXT_FIRST = 16
"""Endings that are worth a round trip before the last one's answer is taken; chosen: fewer cost the
server more than is won, more are seldom there."""


class Rounds:
    """Makes one round trip at a time, for the worker's loop.

    Args:
        queue: the settings now.
        store: where to.
        keeper: holds every claim.
        settlements: endings to be written.
        reports: what running jobs say.
        attempts: takes what was claimed.
        intake: knows whether to claim.
        stage: how far the worker is on its way out.
        troubles: told of what goes wrong again and again.
        emit: the log.
        wake: turns the worker's loop.

    Attributes:
        nudge: set by whoever wants the next try to reach Redis at once.
    """

    def __init__(  # noqa: PLR0913 - the parts that a round trip joins
        self,
        queue: Callable[[], QueueSettings],
        store: Store,
        keeper: LockKeeper,
        *,
        settlements: Settlements,
        reports: Reports,
        attempts: Attempts,
        intake: Intake,
        stage: Stage,
        troubles: Troubles,
        emit: ev.Emit,
        wake: Callable[[], None],
    ) -> None:
        self.nudge = asyncio.Event()
        self._queue = queue
        self._store = store
        self._keeper = keeper
        self._settlements = settlements
        self._reports = reports
        self._attempts = attempts
        self._intake = intake
        self._stage = stage
        self._troubles = troubles
        self._emit = emit
        self._wake = wake
        self._gathering: asyncio.TimerHandle | None = None
        self._has_gathered = False
        self._untaken: Trip | None = None

    @property
    def is_due(self) -> bool:
        """Is there something to send now?"""
        if self._reports or self._untaken:
            return True
        if self._attempts.is_fed and not self._has_gathered and len(self._settlements) < BATCH:
            return False
        return bool(self._settlements) or self._intake.is_due

    def turn(self) -> None:
        """Something changed: wake the worker's loop now, or when endings have gathered."""
        if self.is_due:
            self._wake()
        elif self._settlements and self._gathering is None:
            loop = asyncio.get_running_loop()
            self._gathering = loop.call_later(GATHER_S, self._on_gathered)

    @property
    def has_work(self) -> bool:
        """Is there a job that has not ended in Redis?"""
        return bool(self._attempts or self._settlements or self._reports or self._untaken)

    async def make(self) -> None:
        """Send what there is, and take what comes back; or leave that for the next one."""
        self._begin_to_gather()
        reports, endings, want = self._reports.take(), self._settlements.take(), self._wanted()
        sent_s = asyncio.get_running_loop().time()
        trip = self._store.send(reports, endings, want)
        self._take_untaken()
        try:
            await self._store.answer(trip)
        except TorilError as error:
            self._reports.restore(reports)
            self._settlements.put_back(endings)
            if want is not None:
                self._intake.failed()
            await self.recover(error)
            return
        took_s = asyncio.get_running_loop().time() - sent_s
        if self._is_next_first(trip, took_s):
            self._untaken = trip
        else:
            await self._take_answer(trip, took_s)
            await self._intake.leave_if_full()

    def _wanted(self) -> ClaimRequest | None:
        """What to claim now, if anything."""
        if not self._intake.is_open:
            return None
        queue, coming = self._queue(), self._coming
        free = max(0, self._attempts.free - coming)
        count = min(self._attempts.room - coming, max(free, MOST_AT_ONCE))
        if count <= 0:
            return None
        self._intake.asked()
        return ClaimRequest(count, queue.lock_ms, queue.rate_limit, free)

    @property
    def _coming(self) -> int:
        """Jobs that are claimed and not taken yet, at most."""
        return len(self._untaken.tokens) if self._untaken else 0

    def _is_next_first(self, trip: Trip, took_s: float) -> bool:
        """Is there more to be sent, and nothing in the answer that has to be looked at before?"""
        lock_ms = self._queue().lock_ms
        return (
            len(self._settlements) >= NEXT_FIRST and trip.is_plain and not is_late(took_s, lock_ms)
        )

    def _take_untaken(self) -> None:
        """What the round trip before has brought: endings that Redis has, and jobs; no errors."""
        trip, self._untaken = self._untaken, None
        if trip is None:
            return
        answer = self._store.read(trip)
        if isinstance(answer.claimed, Claimed):
            self._keeper.hold(answer.claimed.claims)
        self._settlements.settled(trip.endings, answer.endings)
        if isinstance(answer.claimed, Claimed):
            self._take(answer.claimed)

    async def _take_answer(self, trip: Trip, took_s: float) -> None:
        answer = self._store.read(trip)
        unavailable = self._settlements.settled(trip.endings, answer.endings)
        is_retried = unavailable is not None
        self._reports.answered(trip.reports, answer.reports, is_retried=is_retried)
        await self._note_claimed(answer.claimed, took_s)
        if unavailable is not None:
            await self.recover(unavailable)

    def adopt(self, claims: Sequence[Claim]) -> None:
        """Take jobs that a lost reply gave us."""
        held = {claim.token for claim in self._keeper.held}
        fresh = [claim for claim in claims if claim.token not in held]
        self._keeper.hold(fresh)
        for claim in fresh:
            if self._stage.is_working:
                self._attempts.start(claim)
            else:
                outcome = Outcome(Verdict.INTERRUPTED, message="the worker stops")
                self._settlements.add(claim, outcome)
                self._wake()

    async def recover(self, error: TorilError) -> None:
        """Reach Redis again, or give up where nothing is worth it; `error` says why it is lost."""
        self._emit(ev.RedisLost(self._queue().name, str(error)))
        loop = asyncio.get_running_loop()
        lost_at = loop.time()
        adopted = await reach_again(
            self._store, self._keeper, is_worth_it=self._is_worth_recovering, nudge=self.nudge
        )
        if adopted is None:
            self._give_up()
            return
        away_ms = round((loop.time() - lost_at) * 1000)
        self._troubles.over()
        self._emit(ev.RedisBack(self._queue().name, away_ms, len(self._keeper.held)))
        self.adopt(adopted)
        self._intake.look()

    def _begin_to_gather(self) -> None:
        self._has_gathered = False
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None

    def _on_gathered(self) -> None:
        self._gathering, self._has_gathered = None, True
        self._wake()

    async def _note_claimed(self, claimed: Claimed | TorilError | None, took_s: float) -> None:
        if isinstance(claimed, Claimed):
            self._keeper.hold(claimed.claims)
            if claimed.claims:
                await renew_if_late(self._keeper, took_s, self._queue().lock_ms)
            self._take(claimed)
        elif isinstance(claimed, RedisUnavailable):
            self._intake.failed()
            await self.recover(claimed)
        elif claimed is not None:
            self._troubles.tell("claim", claimed)
            self._intake.failed()

    def _take(self, claimed: Claimed) -> None:
        if claimed.ghosts:
            self._emit(ev.GhostsRemoved(self._queue().name, claimed.ghosts))
        for claim in claimed.claims:
            if self._keeper.holds(claim):
                self._attempts.start(claim)
        self._attempts.feed()
        self._intake.answered(claimed)

    def _is_worth_recovering(self) -> bool:
        return self._stage.is_worth_recovering(
            asyncio.get_running_loop().time(),
            has_work=self.has_work,
            has_unconfirmed=self._store.has_unconfirmed,
        )

    def _give_up(self) -> None:
        self._attempts.lose_all()
        if unrecorded := self._settlements.give_up():
            self._emit(ev.Unrecorded(self._queue().name, unrecorded))
        self._reports.take()
