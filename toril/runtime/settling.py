"""Commands that write what became of an attempt, and what a running job says; pure.

Text is sent as UTF-8 whatever it holds: a lone surrogate becomes `?`, so that no outcome is kept
from being recorded by its own message.
"""

from __future__ import annotations

import enum
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, assert_never

from toril.runtime.asking import MAX_STACK_BYTES
from toril.runtime.command import REAL_TIME, Command
from toril.runtime.history import Worker, entry
from toril.runtime.retry import (
    Abandon,
    Complete,
    Delay,
    Fail,
    GiveBack,
    Hold,
    Retry,
    WaitForChildren,
)

if TYPE_CHECKING:
    from toril.call import Outcome
    from toril.runtime.claim import Claim, Report
    from toril.runtime.options import KeepRule
    from toril.runtime.retry import Settlement

Arg = str | bytes | int

_NOBODY = Worker()


class Settled(enum.StrEnum):
    """How a settlement or a report was answered."""

    DONE = "done"
    """It is written."""
    ALREADY = "already"
    """An earlier sending of the same settlement had been written; nothing changed."""
    LOST = "lost"
    """The job is not ours any more; nothing changed."""
    GONE = "gone"
    """There is no such job: an earlier sending removed it on its end, or somebody did."""
    PENDING_CHILDREN = "pending-children"
    """It cannot complete while children are pending; still ours. Settle it as raised."""
    FAILED_CHILDREN = "failed-children"
    """It cannot complete with failed children; still ours. Settle it as unrecoverable."""
    NO_CHILDREN = "no-children"
    """It cannot wait for children that it does not have; still ours. Settle it as raised."""
    ABANDONED = "abandoned"
    """Nothing was sent."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of one attempt, as it is to be written."""

    claim: Claim
    settlement: Settlement
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Said:
    """What one attempt is known to have had stored: so many reports, with so many log lines."""

    reports: int = 0
    lines: int = 0

    def with_report(self, report: Report) -> Said:
        """After one more was stored."""
        return Said(self.reports + 1, self.lines + len(report.log_lines))


def settle(  # noqa: PLR0911 - one for each kind
    base: str, ending: Ending, *, worker: Worker = _NOBODY, now_ms: int | str = REAL_TIME
) -> Command[Settled] | None:
    """The command for a settlement; None for one that writes nothing."""
    claim, outcome = ending.claim, ending.outcome
    head = (now_ms, claim.id, claim.token, claim.attempts_started)
    left = (*_verdict(outcome), entry(claim, outcome, worker))
    match ending.settlement:
        case Complete(keep=keep, metrics_size=size):
            return _command("complete", base, *head, outcome.value, *_keep(keep), size, *left)
        case Fail(reason=reason, counts_as=counts, keep=keep, metrics_size=size):
            trace = _trace(claim, reason, outcome)
            rule = (claim.opts.attempts, *_keep(keep), counts.value, size)
            return _command("fail", base, *head, *trace, *rule, *left)
        case Retry(reason=reason, delay_ms=delay_ms, counts_as=counts):
            way = (delay_ms, counts.value, "1" if claim.opts.lifo else "")
            return _command("retry", base, *head, *way, *_trace(claim, reason, outcome), *left)
        case GiveBack(counts_as=counts):
            return _command("give_back", base, *head, counts.value, *left)
        case Delay(delay_ms=delay_ms):
            return _command("delay", base, *head, delay_ms, *left)
        case Hold(delay_ms=delay_ms):
            return _command("hold", base, *head, delay_ms, *left)
        case WaitForChildren():
            return _command("wait_for_children", base, *head, *left)
        case Abandon():
            return None
        case _:
            assert_never(ending.settlement)


def store_report(base: str, report: Report, said: Said) -> Command[Settled]:
    """The command for what a running job said; `said` is what it is known to have said before."""
    claim = report.claim
    keep_logs = claim.opts.keep_logs
    return _command(
        "report",
        base,
        REAL_TIME,
        claim.id,
        claim.token,
        "" if keep_logs is None else keep_logs,
        said.reports + 1,
        said.lines,
        report.progress or b"",
        report.data or b"",
        _utf8(report.stack or "")[:MAX_STACK_BYTES],
        report.checkpoint or b"",
        *map(_utf8, report.log_lines),
    )


def _command(script: str, base: str, *args: Arg) -> Command[Settled]:
    return Command(script, (base,), args, _settled)


def _settled(reply: Any) -> Settled:
    return Settled(reply.decode())


def _keep(rule: KeepRule) -> tuple[Arg, ...]:
    return rule.count, "" if rule.age_s is None else f"{rule.age_s:f}", rule.limit


def _trace(claim: Claim, reason: str, outcome: Outcome) -> tuple[Arg, ...]:
    limit = claim.opts.stack_trace_limit
    return _utf8(reason), _utf8(outcome.stack), "" if limit is None else limit


def _verdict(outcome: Outcome) -> tuple[Arg, ...]:
    usage = json.dumps(asdict(outcome.usage))
    return outcome.verdict.value, json.dumps(dict(outcome.detail)), usage


def _utf8(text: str) -> bytes:
    return text.encode(errors="replace")
