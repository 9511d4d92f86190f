"""Commands that write what became of an attempt, and what a running job says; pure.

Text is sent as UTF-8 whatever it holds: a lone surrogate becomes `?`, so that no outcome is kept
from being recorded by its own message.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar, assert_never, cast

import msgspec
from redis.exceptions import ResponseError

from toril.runtime.asking import MAX_STACK_BYTES
from toril.runtime.command import REAL_TIME, Command
from toril.runtime.history import Worker, entry, json_text, usage_text
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
    from collections.abc import Callable, Iterator, Sequence

    from toril.call import Outcome, Verdict
    from toril.runtime.claim import Claim, Report
    from toril.runtime.options import KeepRule
    from toril.runtime.retry import Settlement

Arg = str | bytes | int
T = TypeVar("T")

MAX_BATCH = 64
"""Completed jobs per call; chosen: beyond 16 a job costs the server little less (measured by
`benchmarks/bench_scripts.py`), and such a call takes it about a millisecond."""

MAX_BATCH_BYTES = 1024 * 1024
"""Bytes of results per call, but for a single larger one; chosen: no call holds the server long."""

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


_SETTLED = {word.encode(): word for word in Settled}


class Ending(msgspec.Struct, frozen=True, gc=False):
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


@dataclass(frozen=True, slots=True)
class Batch:
    """One command and how many endings it writes; it answers a list, with one result for each."""

    size: int
    command: Command[list[Settled | ResponseError]]


def settle_all(
    base: str, endings: Sequence[Ending], *, worker: Worker = _NOBODY, now_ms: int | str = REAL_TIME
) -> list[Batch]:
    """The commands for these settlements, in order; none for those that write nothing.

    Completions that follow each other under the same rules share a call. The order stays: whether
    a parent can complete depends on which of its children have ended before it.
    """
    batches = []
    for is_complete, run in groupby(endings, lambda ending: type(ending.settlement) is Complete):
        if is_complete:
            batches += [_complete(base, some, worker, now_ms) for some in _chunks(run)]
            continue
        for ending in run:
            if (command := settle(base, ending, worker=worker, now_ms=now_ms)) is not None:
                batches.append(Batch(1, _parsed_by(_one_settled, command)))
    return batches


def settle(  # noqa: PLR0911 - one for each kind
    base: str, ending: Ending, *, worker: Worker = _NOBODY, now_ms: int | str = REAL_TIME
) -> Command[Settled] | None:
    """The command for a single settlement; None for one that writes nothing."""
    claim, outcome = ending.claim, ending.outcome
    head = (now_ms, claim.id, claim.token, claim.attempts_started)
    left = (*_verdict(outcome), entry(claim, outcome, worker))
    match ending.settlement:
        case Complete():
            return _parsed_by(_only_settled, _complete(base, (ending,), worker, now_ms).command)
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


def _chunks(completions: Iterator[Ending]) -> Iterator[list[Ending]]:
    """As few as the bounds of a call and the differing rules allow, in order."""
    chunk: list[Ending] = []
    shared, size_bytes = None, 0
    for ending in completions:
        rules, more_bytes = _shared(ending), len(ending.outcome.value)
        is_full = len(chunk) == MAX_BATCH or size_bytes + more_bytes > MAX_BATCH_BYTES
        if chunk and (is_full or rules != shared):
            yield chunk
            chunk, size_bytes = [], 0
        chunk.append(ending)
        shared, size_bytes = rules, size_bytes + more_bytes
    yield chunk


def _complete(base: str, endings: Sequence[Ending], worker: Worker, now_ms: int | str) -> Batch:
    """One call that completes these; they share their rules."""
    rules, verdict = _shared(endings[0])
    args: list[Arg] = [now_ms, *_keep(rules.keep), rules.metrics_size, verdict.value]
    for ending in endings:
        claim, outcome = ending.claim, ending.outcome
        args += (
            claim.id,
            claim.token,
            claim.attempts_started,
            outcome.value,
            json_text(outcome.detail),
            usage_text(outcome.usage),
            entry(claim, outcome, worker),
        )
    return Batch(len(endings), Command("complete", (base,), tuple(args), _each_settled))


def _shared(ending: Ending) -> tuple[Complete, Verdict]:
    """What all completions of one call have in common."""
    return cast("Complete", ending.settlement), ending.outcome.verdict


def _command(script: str, base: str, *args: Arg) -> Command[Settled]:
    return Command(script, (base,), args, _settled)


def _parsed_by(parse: Callable[[Any], T], command: Command[Any]) -> Command[T]:
    return Command(command.script, command.keys, command.args, parse)


def _settled(reply: Any) -> Settled:
    return _SETTLED[reply]


def _one_settled(reply: Any) -> list[Settled | ResponseError]:
    return [_settled(reply)]


def _each_settled(reply: Any) -> list[Settled | ResponseError]:
    """An error of one job stands among the others' words."""
    return [one if isinstance(one, ResponseError) else _settled(one) for one in reply]


def _only_settled(reply: Any) -> Settled:
    """The answer to a call for one job; raises the error that stands in its place."""
    (result,) = _each_settled(reply)
    if isinstance(result, ResponseError):
        raise result
    return result


def _keep(rule: KeepRule) -> tuple[Arg, ...]:
    return rule.count, "" if rule.age_s is None else f"{rule.age_s:f}", rule.limit


def _trace(claim: Claim, reason: str, outcome: Outcome) -> tuple[Arg, ...]:
    limit = claim.opts.stack_trace_limit
    return _utf8(reason), _utf8(outcome.stack), "" if limit is None else limit


def _verdict(outcome: Outcome) -> tuple[Arg, ...]:
    return outcome.verdict.value, json_text(outcome.detail), usage_text(outcome.usage)


def _utf8(text: str) -> bytes:
    return text.encode(errors="replace")
