"""Attempts that ended, from the decision until Redis has it.

An ending leaves here in one of three ways: Redis recorded it, Redis said that the job is not ours
(or broken), or its lock was lost before it was sent. A change must keep: until then its claim is
held by the lock keeper, and no ending is forgotten because Redis could not take it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from toril.call import Outcome, Verdict
from toril.correlation import of_job
from toril.errors import RedisRefused, RedisUnavailable, TorilError
from toril.events import JobSettled, SettlementRefused
from toril.runtime.retry import (
    KEEP_EVERYTHING,
    Abandon,
    Complete,
    Fail,
    Retry,
    decide,
    words,
)
from toril.runtime.settling import Settled
from toril.runtime.store import Ending
from toril.units import MAX_DURATION_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toril.events import Emit
    from toril.runtime.claim import Claim
    from toril.runtime.lock import LockKeeper
    from toril.runtime.retry import Policy, Settlement
    from toril.supervisor.listeners import Listeners

RECORDED = (Settled.DONE, Settled.ALREADY)

UNFINISHED = {
    Settled.PENDING_CHILDREN: Outcome(
        Verdict.RAISED, message="completed with children of its flow still pending"
    ),
    Settled.FAILED_CHILDREN: Outcome(
        Verdict.UNRECOVERABLE,
        message="completed or waits although a child of its flow has failed",
    ),
    Settled.NO_CHILDREN: Outcome(Verdict.RAISED, message="waits for its children, but it has none"),
}
"""Endings that Redis refuses, and how the attempt ends instead; given by BullMQ."""


class Settlements:
    """What is to be written next, in the order in which it ended.

    Args:
        queue: for the log.
        policy: what the worker brings to the decision.
        keeper: holds every claim until its end is recorded.
        emit: the log.

    Attributes:
        recorded: attempts whose end Redis has.
        listeners: told of each of them; None without any.
        policy: as given; what ends from now on is decided by it.
    """

    def __init__(self, queue: str, policy: Policy, keeper: LockKeeper, emit: Emit) -> None:
        self.recorded = 0
        self.listeners: Listeners | None = None
        self._queue = queue
        self.policy = policy
        self._keeper = keeper
        self._emit = emit
        self._pending: list[Ending] = []
        self._sent: set[str] = set()
        self._repeated: set[str] = set()

    def __len__(self) -> int:
        """Endings to be written."""
        return len(self._pending)

    @property
    def unrecorded(self) -> int:
        """Attempts that ended and that Redis has not confirmed."""
        return len({ending.claim.token for ending in self._pending} | self._sent)

    def add(self, claim: Claim, outcome: Outcome) -> None:
        """Decide what follows; it is written by the next round trip."""
        jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
        settlement = decide(claim, outcome, self.policy, jitter)
        if isinstance(settlement, Abandon):
            self._keeper.release(claim)
        else:
            self._pending.append(Ending(claim, settlement, outcome))

    def take(self) -> list[Ending]:
        """Everything that waits; `settled` or `put_back` must follow."""
        taken, self._pending = self._pending, []
        self._sent.update(ending.claim.token for ending in taken)
        return taken

    def put_back(self, endings: Sequence[Ending]) -> None:
        """Redis could not take these now; nothing is known about them."""
        self._keeper.hold(ending.claim for ending in endings)
        self._pending[:0] = endings
        tokens = {ending.claim.token for ending in endings}
        self._repeated |= tokens
        self._sent -= tokens

    def settled(
        self, endings: Sequence[Ending], results: Sequence[Settled | TorilError]
    ) -> RedisUnavailable | None:
        """Note what Redis said to each; the error if it could not take some of them now."""
        unavailable, later = None, []
        for ending, result in zip(endings, results, strict=True):
            if isinstance(result, RedisUnavailable):
                unavailable = result
                later.append(ending)
            elif result in UNFINISHED:
                self.add(ending.claim, UNFINISHED[result])
            elif isinstance(result, RedisRefused) and not isinstance(ending.settlement, Fail):
                # The same again would be refused again; a failure asks less of the job's keys.
                self.add(ending.claim, Outcome(Verdict.UNRECOVERABLE, message=str(result)))
            else:
                self._keeper.release(ending.claim)
                self._note(ending, result)
        self._sent.difference_update(ending.claim.token for ending in endings)
        if later:
            self.put_back(later)
        return unavailable

    def has(self, claim: Claim) -> bool:
        """Has its attempt ended, recorded or not?"""
        is_pending = any(ending.claim is claim for ending in self._pending)
        return is_pending or claim.token in self._sent

    def is_sent(self, claim: Claim) -> bool:
        """Was its end sent, answered or not? Then its lock may be gone because it is settled."""
        return claim.token in self._sent or claim.token in self._repeated

    def drop(self, claim: Claim) -> None:
        """Its lock is lost: nothing may be written."""
        self._pending = [ending for ending in self._pending if ending.claim is not claim]
        self._repeated.discard(claim.token)

    def give_up(self) -> tuple[str, ...]:
        """Forget what could not be written; the ids of those jobs."""
        self._repeated.clear()
        return tuple(ending.claim.id for ending in self.take())

    def _note(self, ending: Ending, result: Settled | TorilError) -> None:
        is_repeated = ending.claim.token in self._repeated
        self._repeated.discard(ending.claim.token)
        # The first sending was recorded, and the job removed as its options want.
        is_removed = is_repeated and result is Settled.GONE and _removes(ending.settlement)
        if result in RECORDED or is_removed:
            self.recorded += 1
            self._emit(_settled_event(self._queue, ending))
            if self.listeners is not None:
                self.listeners.settled(ending)
            return
        reason = str(result) if isinstance(result, TorilError) else result.value
        claim, verdict = ending.claim, ending.outcome.verdict.value
        correlation_id = of_job(self._queue, claim.id, claim.opts.correlation_id)
        self._emit(SettlementRefused(self._queue, claim.id, verdict, reason, correlation_id))


def _removes(settlement: Settlement) -> bool:
    """Whether a job that ends like this may be gone with it."""
    return isinstance(settlement, Complete | Fail) and settlement.keep != KEEP_EVERYTHING


def _settled_event(queue: str, ending: Ending) -> JobSettled:
    claim, outcome, settlement = ending.claim, ending.outcome, ending.settlement
    reason = settlement.reason if isinstance(settlement, Fail | Retry) else outcome.message
    return JobSettled(
        queue=queue,
        job_id=claim.id,
        name=claim.name,
        attempt=claim.attempts_started,
        verdict=outcome.verdict.value,
        settled=words(settlement),
        wait_ms=_waited_ms(claim),
        run_ms=outcome.usage.wall_ms,
        cpu_ms=outcome.usage.cpu_ms,
        reason=reason,
        error_name=outcome.error_name,
        peak_memory_bytes=outcome.usage.peak_memory_bytes,
        correlation_id=of_job(queue, claim.id, claim.opts.correlation_id),
    )


def _waited_ms(claim: Claim) -> int | None:
    """From the job's creation to its first start; None where nobody can tell."""
    waited_ms = claim.processed_on_ms - claim.timestamp_ms
    if claim.attempts_started > 1 or not 0 <= waited_ms <= MAX_DURATION_MS:
        return None
    return waited_ms
