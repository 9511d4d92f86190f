"""`toril jobs list`: jobs of a queue by filters, a page at a time."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING

from toril.cli.jobs.filters import Filter, matching
from toril.cli.jobs.verb import STATES
from toril.cli.output import Table, put_json, say, time_of
from toril.cli.records import JobListed
from toril.units import whole

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from toril.runtime.job import Job
    from toril.runtime.queue import Queue

_COLUMNS = ("ID", "STATE", "NAME", "ATTEMPTS", "ADDED", "VERDICT", "REASON")
_ROWS = 50
"""Rows that are aligned together; chosen: about a screen."""


def list_jobs(queue: Queue, options: argparse.Namespace) -> int:
    """List them."""
    limit, skip = whole(options.limit, "--limit"), whole(options.skip, "--skip")
    found = matching(queue, Filter.of(options, STATES), ascending=options.ascending)
    wanted = islice(found, skip, skip + limit if limit else None)
    shown = (listed(state, job) for state, job in wanted)
    count = _as_json(shown) if options.json else show_table(shown)
    if limit and count == limit and next(found, None) is not None:
        say(f"there are more: --skip {skip + limit}, or --limit 0 for all")
    elif not count:
        say(f"no such job in queue {queue.name!r}")
    return os.EX_OK


def listed(state: str, job: Job) -> JobListed:
    """A job as lists show it."""
    values = {name: getattr(job, name) for name in JobListed.__struct_fields__ if name != "state"}
    return JobListed(state=state, **values)


def show_table(jobs: Iterable[JobListed]) -> int:
    """A table for people; how many there were."""
    table, count, rows = Table(_COLUMNS), 0, iter(jobs)
    while page := list(islice(rows, _ROWS)):
        table.add([_row(job) for job in page])
        count += len(page)
    return count


def _as_json(jobs: Iterable[JobListed]) -> int:
    count = 0
    for count, job in enumerate(jobs, 1):  # noqa: B007 - the number of the last one
        put_json(job)
    return count


def _row(job: JobListed) -> tuple[str, ...]:
    added = time_of(job.timestamp_ms)[:19]
    reason = (job.failed_reason or "").partition("\n")[0]
    made = str(job.attempts_made)
    return (job.id, job.state, job.name, made, added, job.verdict or "-", reason)
