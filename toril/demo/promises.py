"""What toril promises, each held against what Redis says afterwards; none is assumed."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toril.call import Verdict
from toril.demo.stage import BLOCK_S
from toril.demo.supervise import LIMIT, LOCK_MS, MEMORY_BYTES
from toril.units import format_bytes, format_ms

if TYPE_CHECKING:
    from toril.demo.stage import Stage
    from toril.runtime.job import Job
    from toril.runtime.queue import Queue


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise, and whether and by what evidence it was kept."""

    text: str
    holds: bool
    evidence: str


def promises(stage: Stage) -> list[Promise]:
    """Every promise of the demo, read back from Redis after the last job ended."""
    return [_work(stage), _blocking(stage), _killed(stage), _memory(stage), _rate(stage)]


def _read(queue: Queue, job: Job) -> Job:
    found = queue.get_job(job.id)
    if found is None:
        raise LookupError(f"job {job.id} vanished from Redis")
    return found


def _work(stage: Stage) -> Promise:
    wrong, files, lines, failed = 0, 0, 0, 0
    for added in stage.measured:
        job = _read(stage.work, added)
        is_failed = job.state() == "failed"
        failed += is_failed
        wrong += is_failed == _parses(added.data["paths"])
        if not is_failed:
            files += job.returnvalue["files"]
            lines += job.returnvalue["lines"]
    return Promise(
        "every job of CPU-heavy Python has one final state; files that do not parse fail",
        not wrong and files > 0,
        f"{files} files, {lines} lines measured in {len(stage.measured)} jobs; "
        f"{failed} failed, all of them unparsable; {wrong} wrong",
    )


def _parses(paths: list[str]) -> bool:
    try:
        for path in paths:
            ast.parse(Path(path).read_bytes(), path)
    except (SyntaxError, ValueError):
        return False
    return True


def _blocking(stage: Stage) -> Promise:
    job = _read(stage.work, stage.block)
    ran_ms = 1000 * job.returnvalue["seconds"] if job.returnvalue else 0
    holds = (
        job.state() == "completed"
        and ran_ms >= 1000 * BLOCK_S
        and (job.attempts_started, job.stalls) == (1, 0)
        and stage.lock_missing == 0
        and stage.lock_samples > 10 * BLOCK_S / 2
    )
    return Promise(
        "a job that blocks in one C call for 3 times its lock runs exactly once",
        holds,
        f"blocked {format_ms(ran_ms)}, lock {format_ms(LOCK_MS)}; started {job.attempts_started}x, "
        f"stalled {job.stalls}x; lock missing in {stage.lock_missing} of "
        f"{stage.lock_samples} samples",
    )


def _killed(stage: Stage) -> Promise:
    job = _read(stage.work, stage.victim)
    pid = job.returnvalue["pid"] if job.returnvalue else None
    holds = (
        job.state() == "completed"
        and (job.attempts_started, job.crashes) == (2, 1)
        and stage.killed_pid is not None
        and pid != stage.killed_pid
    )
    return Promise(
        "the job of a child that is killed -9 is done by another, and costs no attempt",
        holds,
        f"killed pid {stage.killed_pid}, done by pid {pid}; crashes {job.crashes}, "
        f"attempts {job.attempts_made}",
    )


def _memory(stage: Stage) -> Promise:
    job = _read(stage.work, stage.hoard)
    began, ended = job.processed_on_ms or 0, job.finished_on_ms or 0
    others = [_read(stage.work, added) for added in stage.measured]
    beside = sum(began <= (other.finished_on_ms or 0) <= ended for other in others)
    verdict = job.verdict or ""
    return Promise(
        "a job over its memory limit fails alone",
        job.state() == "failed" and verdict == Verdict.MEMORY_ERROR.value and beside > 0,
        f"limit {format_bytes(MEMORY_BYTES)}: {job.state()}, {verdict}; "
        f"{beside} neighbours ended meanwhile",
    )


def _rate(stage: Stage) -> Promise:
    jobs = [_read(stage.limited, added) for added in stage.ticks]
    starts = sorted(job.processed_on_ms or 0 for job in jobs)
    workers = {job.processed_by for job in jobs}
    excess = max(
        last - first + 1 - _allowed(starts[last] - starts[first])
        for first in range(len(starts))
        for last in range(first, len(starts))
    )
    return Promise(
        f"a rate limit of {LIMIT.tokens} a second (burst {LIMIT.burst}) binds both supervisors",
        excess <= 0 and len(workers) > 1 and all(job.state() == "completed" for job in jobs),
        f"{len(jobs)} jobs in {format_ms(starts[-1] - starts[0])} by {len(workers)} supervisors; "
        f"no window holds more than allowed"
        if excess <= 0
        else f"{excess} too many in some window",
    )


def _allowed(window_ms: int) -> int:
    # Redis stores whole milliseconds: two starts may be up to one further apart than they seem.
    return int(LIMIT.burst + (window_ms + 1) * LIMIT.tokens / LIMIT.per_ms)
