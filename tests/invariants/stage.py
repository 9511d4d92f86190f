"""A worker and its queue, as the invariants' tests drive them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.toril import UNWALLED, TorilRun

if TYPE_CHECKING:
    from pathlib import Path

    from toril import Job, Queue

QUEUE = "invariants"
OURS = "tests.invariants.processors:processors"
ORDINARY = "tests.end_to_end.processors:processors"


def run(url: str, *flags: str, processor: str = OURS, concurrency: int = 1) -> TorilRun:
    """A worker that is ready; our own processors look around and do harm, so they need no wall."""
    words = ("--concurrency", str(concurrency), *(UNWALLED if processor == OURS else ()), *flags)
    return TorilRun(QUEUE, processor, url, *words).ready()


def active(queue: Queue, toril: TorilRun, count: int = 1) -> None:
    """Wait until so many jobs are active."""
    toril.wait_until(queue.counts, lambda counts: counts["active"] == count, 15)


def ended(queue: Queue, toril: TorilRun, job: Job, timeout_s: float = 30) -> Job:
    """The job once it has ended."""
    toril.wait_until(job.state, lambda state: state in {"completed", "failed"}, timeout_s)
    found = queue.get_job(job.id)
    assert found is not None
    return found


def progress(queue: Queue, toril: TorilRun, job: Job) -> dict[str, Any]:
    """What the job says first of itself."""
    said: dict[str, Any] = toril.wait_until(
        lambda: queue.get_job(job.id).progress, lambda told: isinstance(told, dict), 15
    )
    return said


def words(ledger: Path) -> list[str]:
    """What ran, as it told the ledger: started, finished …"""
    return [line.split()[0] for line in ledger.read_text().splitlines()] if ledger.exists() else []
