"""`toril queue list`: the queues of a prefix, and how each stands."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

from toril.cli.output import Table, put_json, say
from toril.cli.records import QueueListed
from toril.errors import RedisRefused
from toril.runtime.depth import depth
from toril.runtime.drivers import BlockingDriver
from toril.runtime.finding import find_queues
from toril.runtime.inspecting import get_meta, get_workers
from toril.runtime.keys import key_base
from toril.units import format_ms

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from toril.runtime.dialog import Program
    from toril.supervisor.config.load import Server

_COUNTED = ("waiting", "prioritized", "delayed", "active", "failed", "completed")
_COLUMNS = ("QUEUE", *(name.upper() for name in _COUNTED), "OLDEST", "WORKERS", "PAUSED")


def list_queues(server: Server, options: argparse.Namespace) -> int:
    """List them; one that cannot be read is told, and does not hide the others."""
    with closing(BlockingDriver(server.url)) as driver:
        return _list(driver, server.prefix, options)


def _list(driver: BlockingDriver, prefix: str, options: argparse.Namespace) -> int:
    found = driver.run(find_queues(prefix))
    broken: dict[str, RedisRefused] = {}
    queues = _readable(found.names, driver, prefix, broken)
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
        say(f"no queue with the prefix {prefix!r}")
    return os.EX_UNAVAILABLE if broken else os.EX_OK


def _readable(
    names: Iterable[str], driver: BlockingDriver, prefix: str, broken: dict[str, RedisRefused]
) -> Iterator[QueueListed]:
    for name in names:
        try:
            yield driver.run(_listed(name, key_base(prefix, name)))
        except RedisRefused as error:
            broken[name] = error


def _listed(name: str, base: str) -> Program[QueueListed]:
    meta = yield from get_meta(base)
    found = yield from depth(base)
    oldest_ms = round(1000 * found.oldest_waiting_s)
    has_waiting = any(found.counts[state] for state in ("waiting", "prioritized"))
    return QueueListed(
        queue=name,
        counts=dict(found.counts),
        is_paused=meta.is_paused,
        oldest_waiting_ms=oldest_ms if has_waiting else None,
        workers=(yield from _workers(base)),
        version=meta.version,
    )


def _workers(base: str) -> Program[int | None]:
    try:
        return len((yield from get_workers(base)))
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
