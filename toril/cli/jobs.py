"""`toril jobs cancel|show|stack`: what an operator asks about one job."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, fields, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from toril.cli.sources import server_of
from toril.runtime.asking import Cancellation
from toril.runtime.queue import Queue
from toril.runtime.reading import JobRecord
from toril.units import format_bytes, format_ms

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from toril.runtime.history import Attempt
    from toril.runtime.job import Job

_CANCELLATIONS = {
    Cancellation.CANCELLED: "cancelled; it had not started, or had been cancelled before",
    Cancellation.ASKED: "it runs; its worker was told to stop it",
    Cancellation.FINISHED: "it had ended already; nothing was changed",
    Cancellation.REFUSED: "it waits for children or carries a schedule on; remove it",
    Cancellation.GONE: "there is no such job",
}


def main(options: argparse.Namespace) -> int:
    """Answer one question about one job."""
    server = server_of(options)
    with Queue(options.queue, redis=server.url, prefix=server.prefix) as queue:
        return _ACTIONS[options.action](queue, options)


def _cancel(queue: Queue, options: argparse.Namespace) -> int:
    found = queue.cancel(options.id)
    _write({"id": options.id, "result": found.value}, _CANCELLATIONS[found], options)
    done = found in {Cancellation.CANCELLED, Cancellation.ASKED}
    return os.EX_OK if done else os.EX_UNAVAILABLE


def _show(queue: Queue, options: argparse.Namespace) -> int:
    job = queue.get_job(options.id)
    if job is None:
        return _missing(options)
    state = job.state()
    if options.json:
        _write(_fields(job) | {"state": state}, "", options)
    else:
        sys.stdout.write("\n".join(_lines(job, state)) + "\n")
    return os.EX_OK


def _stack(queue: Queue, options: argparse.Namespace) -> int:
    text = queue.stack(options.id, timeout="5s")
    if text is None:
        sys.stderr.write(
            f"toril jobs stack: job {options.id} does not run, or its worker did not answer\n"
        )
        return os.EX_UNAVAILABLE
    _write({"id": options.id, "stack": text}, text.rstrip("\n"), options)
    return os.EX_OK


_ACTIONS: dict[str, Callable[[Queue, argparse.Namespace], int]] = {
    "cancel": _cancel,
    "show": _show,
    "stack": _stack,
}


def _write(found: dict[str, Any], words: str, options: argparse.Namespace) -> None:
    sys.stdout.write((json.dumps(found, default=_plain) if options.json else words) + "\n")


def _missing(options: argparse.Namespace) -> int:
    sys.stderr.write(
        f"toril jobs {options.action}: queue {options.queue!r} has no job {options.id!r}\n"
    )
    return os.EX_UNAVAILABLE


def _fields(job: Job) -> dict[str, Any]:
    return {field.name: getattr(job, field.name) for field in fields(JobRecord)}


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def _lines(job: Job, state: str) -> Iterator[str]:
    yield f"job       {job.id} {job.name}"
    yield f"state     {state}" + (f", {job.verdict}" if job.verdict else "")
    yield (
        f"counted   {job.attempts_made} attempts, {job.crashes} crashes, {job.stalls} stalls, "
        f"{job.interruptions} interruptions; started {job.attempts_started} times"
    )
    yield f"added     {_time(job.timestamp_ms)}"
    if job.failed_reason:
        yield f"reason    {job.failed_reason}"
    for attempt in job.history:
        yield f"attempt   {_attempt(attempt)}"
    if job.stack:
        yield "stack, taken when most of its time was over:"
        yield job.stack.rstrip("\n")


def _attempt(attempt: Attempt) -> str:
    usage = attempt.usage
    parts = [f"{attempt.attempt}", attempt.verdict, _time(attempt.started_ms)]
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


def _time(ms: int | None) -> str:
    if ms is None:
        return "?"
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
