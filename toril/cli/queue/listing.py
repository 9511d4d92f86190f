"""`toril queue list`: the queues of a prefix, and how each stands."""

from __future__ import annotations

import os
import time
from contextlib import closing
from typing import TYPE_CHECKING

from toril.cli.output import Table, put_json, say
from toril.cli.records import QueueListed
from toril.errors import RedisRefused
from toril.runtime.drivers import BlockingDriver
from toril.runtime.finding import find_queues
from toril.runtime.queue import Queue
from toril.units import format_ms

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from toril.supervisor.config.load import Server

_COUNTED = ("waiting", "prioritized", "delayed", "active", "failed", "completed")
_COLUMNS = ("QUEUE", *(name.upper() for name in _COUNTED), "OLDEST", "WORKERS", "PAUSED")


def list_queues(server: Server, options: argparse.Namespace) -> int:
    """List them; one that cannot be read is told, and does not hide the others."""
    with closing(BlockingDriver(server.url)) as driver:
        found = driver.run(find_queues(server.prefix))
    broken: dict[str, RedisRefused] = {}
    queues = _readable(found.names, server, broken)
    if options.json:
        for one in queues:
            put_json(one)
    elif found.names:
        Table(_COLUMNS).add([_row(one) for one in queues])
    for name, error in broken.items():
        say(f"toril queue list: queue {name!r}: {error}")
    if not found.is_complete:
        say("the database is so large that the search was broken off; there may be more queues")
    elif not found.names:
        say(f"no queue with the prefix {server.prefix!r}")
    return os.EX_UNAVAILABLE if broken else os.EX_OK


def _readable(
    names: Iterable[str], server: Server, broken: dict[str, RedisRefused]
) -> Iterator[QueueListed]:
    for name in names:
        try:
            yield _listed(name, server)
        except RedisRefused as error:
            broken[name] = error


def _listed(name: str, server: Server) -> QueueListed:
    with Queue(name, redis=server.url, prefix=server.prefix) as queue:
        meta = queue.get_meta()
        return QueueListed(
            queue=name,
            counts=queue.counts(),
            is_paused=meta.is_paused,
            oldest_waiting_ms=_oldest_ms(queue),
            workers=_workers(queue),
            version=meta.version,
        )


def _oldest_ms(queue: Queue) -> int | None:
    """Since when the jobs that run next could run: the first of each list bounds the others."""
    first = queue.get_jobs(("waiting", "prioritized", "paused"), 0, 0, ascending=True)
    since_ms = [max(job.timestamp_ms + job.delay_ms, job.processed_on_ms or 0) for job in first]
    return max(0, round(time.time() * 1000) - min(since_ms)) if since_ms else None


def _workers(queue: Queue) -> int | None:
    try:
        return len(queue.get_workers())
    except RedisRefused:
        return None


def _row(one: QueueListed) -> tuple[str, ...]:
    oldest = "-" if one.oldest_waiting_ms is None else format_ms(one.oldest_waiting_ms)
    return (
        one.queue,
        *(str(one.counts[state]) for state in _COUNTED),
        oldest,
        "?" if one.workers is None else str(one.workers),
        "paused" if one.is_paused else "-",
    )
