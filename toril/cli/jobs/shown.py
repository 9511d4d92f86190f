"""`toril jobs show|logs|stack`: what can be seen of one job."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec import to_builtins

from toril.cli.output import put, put_json, say, time_of, visible_lines
from toril.cli.records import JobShown, LogLine, StackShown
from toril.units import format_bytes, format_ms, whole
from toril.visible import visible

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from toril.runtime.history import Attempt
    from toril.runtime.job import Job
    from toril.runtime.queue import Queue

LINES_PER_READ = 1000
"""Log lines held at a time; chosen."""


def show(queue: Queue, options: argparse.Namespace) -> int:
    """All that is known of a job."""
    job = queue.get_job(options.id)
    if job is None:
        return _missing(options)
    state = job.state()
    if options.json:
        put_json(_shown(job, state))
    else:
        for line in _lines(job, state):
            put(visible(line))
    return os.EX_OK


def logs(queue: Queue, options: argparse.Namespace) -> int:
    """The lines of its log, as many as there were at first."""
    page = queue.get_job_logs(options.id, 0, 0)
    if not page.count and queue.get_job(options.id) is None:
        return _missing(options)
    tail = page.count if options.tail is None else whole(options.tail, "--tail")
    for start in range(max(0, page.count - tail), page.count, LINES_PER_READ):
        end = min(start + LINES_PER_READ, page.count) - 1
        for number, line in enumerate(queue.get_job_logs(options.id, start, end).logs, start):
            if options.json:
                put_json(LogLine(number, line))
            else:
                put(visible(line))
    return os.EX_OK


def stack(queue: Queue, options: argparse.Namespace) -> int:
    """Where a running job stands."""
    text = queue.stack(options.id, timeout="5s")
    if text is None:
        say(f"toril jobs stack: job {options.id} does not run, or its worker did not answer")
        return os.EX_UNAVAILABLE
    if options.json:
        put_json(StackShown(options.id, text))
    else:
        put(visible_lines(text))
    return os.EX_OK


def _missing(options: argparse.Namespace) -> int:
    say(f"toril jobs {options.action}: queue {options.queue!r} has no job {options.id!r}")
    return os.EX_UNAVAILABLE


def _shown(job: Job, state: str) -> JobShown:
    names = set(JobShown.__struct_fields__) - {"state", "usage", "history"}
    return JobShown(
        state=state,
        usage=None if job.usage is None else to_builtins(job.usage),
        history=[to_builtins(attempt) for attempt in job.history],
        **{name: getattr(job, name) for name in names},
    )


def _lines(job: Job, state: str) -> Iterator[str]:
    yield f"job       {job.id} {job.name}"
    yield f"state     {state}" + (f", {job.verdict}" if job.verdict else "")
    yield (
        f"counted   {job.attempts_made} attempts, {job.crashes} crashes, {job.stalls} stalls, "
        f"{job.interruptions} interruptions; started {job.attempts_started} times"
    )
    yield f"added     {time_of(job.timestamp_ms)}"
    if job.failed_reason:
        yield f"reason    {job.failed_reason}"
    for attempt in job.history:
        yield f"attempt   {_attempt(attempt)}"
    if job.stack:
        yield "stack, taken when most of its time was over:"
        yield from job.stack.rstrip("\n").split("\n")


def _attempt(attempt: Attempt) -> str:
    usage = attempt.usage
    parts = [f"{attempt.attempt}", attempt.verdict, time_of(attempt.started_ms)]
    if usage is not None:
        parts.append(f"ran {format_ms(usage.wall_ms)}")
        if usage.cpu_ms is not None:
            parts.append(f"cpu {format_ms(usage.cpu_ms)}")
        if usage.peak_memory_bytes is not None:
            parts.append(f"peak {format_bytes(usage.peak_memory_bytes)} (its own report)")
    if attempt.worker:
        parts.append(f"by {attempt.worker}")
    if attempt.pid is not None:
        parts.append(f"pid {attempt.pid}")
    parts.extend(f"{name} {value}" for name, value in attempt.detail.items())
    return ", ".join(parts)
