"""What running jobs say of themselves, gathered until the next round trip to Redis.

Progress, data and checkpoint: the last one counts. Log lines: all of them, up to a bound, in order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from toril.correlation import of_job
from toril.errors import RedisUnavailable, TorilError
from toril.events import ReportRefused
from toril.runtime.claim import Report

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from toril.events import Emit
    from toril.runtime.claim import Claim
    from toril.runtime.settling import Settled

MAX_LINES = 10_000
"""Log lines of one job that wait for Redis at most; chosen: an outage must not fill memory."""


@dataclass(slots=True)
class _Draft:
    claim: Claim
    progress: bytes | None = None
    data: bytes | None = None
    stack: str | None = None
    checkpoint: bytes | None = None
    lines: list[str] = field(default_factory=list)


class Reports:
    """Drafts by claim; `take()` hands them out as values and starts anew.

    They fail soft: what Redis refuses is dropped and told once per job; the job goes on.
    """

    def __init__(self, queue: str, emit: Emit) -> None:
        self._queue = queue
        self._emit = emit
        self._drafts: dict[str, _Draft] = {}
        self._told: set[str] = set()

    def __bool__(self) -> bool:
        """Is there anything to report?"""
        return bool(self._drafts)

    def progress(self, claim: Claim, value: bytes) -> None:
        """Replace the progress that goes out next."""
        self._draft(claim).progress = value

    def data(self, claim: Claim, value: bytes) -> None:
        """Replace the data that goes out next."""
        self._draft(claim).data = value

    def stack(self, claim: Claim, text: str) -> None:
        """Replace the stack that is kept with the job."""
        self._draft(claim).stack = text

    def checkpoint(self, claim: Claim, value: bytes) -> None:
        """Replace what the next attempt is to find."""
        self._draft(claim).checkpoint = value

    def log(self, claim: Claim, lines: Iterable[str]) -> None:
        """Append lines; over the bound the newest are dropped."""
        draft = self._draft(claim)
        draft.lines.extend(lines)
        del draft.lines[MAX_LINES:]

    def take(self) -> list[Report]:
        """Everything gathered so far."""
        drafts, self._drafts = self._drafts, {}
        return [_as_report(draft) for draft in drafts.values()]

    def answered(
        self,
        reports: Sequence[Report],
        results: Sequence[Settled | TorilError],
        *,
        is_retried: bool,
    ) -> None:
        """Note what Redis said to each; with `is_retried` what it cannot take now is kept."""
        later = []
        for report, result in zip(reports, results, strict=True):
            if is_retried and isinstance(result, RedisUnavailable):
                later.append(report)
            elif isinstance(result, TorilError):
                self._tell(report, result)
        self.restore(later)

    def restore(self, reports: Iterable[Report]) -> None:
        """Put back what could not be sent, before anything newer."""
        newer, self._drafts = self._drafts, {}
        for report in reports:
            lines = list(report.log_lines)
            self._drafts[report.claim.token] = _Draft(
                report.claim, report.progress, report.data, report.stack, report.checkpoint, lines
            )
        for draft in newer.values():
            self.log(draft.claim, draft.lines)
            older = self._draft(draft.claim)
            older.progress = draft.progress or older.progress
            older.data = draft.data or older.data
            older.stack = draft.stack or older.stack
            older.checkpoint = draft.checkpoint or older.checkpoint

    def forget(self, claim: Claim) -> None:
        """Its attempt has ended: a refusal after that is news again."""
        self._told.discard(claim.token)

    def _tell(self, report: Report, error: TorilError) -> None:
        token = report.claim.token
        if token not in self._told:
            self._told.add(token)
            claim = report.claim
            correlation_id = of_job(self._queue, claim.id, claim.opts.correlation_id)
            self._emit(ReportRefused(self._queue, claim.id, str(error), correlation_id))

    def _draft(self, claim: Claim) -> _Draft:
        return self._drafts.setdefault(claim.token, _Draft(claim))


def _as_report(draft: _Draft) -> Report:
    return Report(
        claim=draft.claim,
        progress=draft.progress,
        log_lines=tuple(draft.lines),
        data=draft.data,
        stack=draft.stack,
        checkpoint=draft.checkpoint,
    )
