"""A producer of a chaos run, as a process: `python -m tests.chaos.producer JSON`.

It writes down what it will add, adds it, and writes down the id. Where Redis is away it adds jobs
of ids of its own until it is told so; of the others it does not know, and says nothing more.
"""

from __future__ import annotations

import json
import random
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.jobs import draw
from tests.chaos.ledger import note, now_ms, own_ledger
from toril import BulkAddFailed, Queue, RedisUnavailable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from toril import NewJob

BULK_SHARE = 0.15
BULK_MOST = 8
OWN_ID_SHARE = 0.4
AGAIN_S = 0.1


@dataclass(frozen=True)
class Orders:
    """What a producer is told."""

    name: str
    url: str
    queue: str
    seed: str
    count: int
    per_s: float
    kinds: Sequence[str]


class Producer:
    """Adds so many jobs at an even pace."""

    def __init__(self, orders: Orders, queue: Queue, ledger: sqlite3.Connection) -> None:
        self._orders = orders
        self._queue = queue
        self._ledger = ledger
        self._rng = random.Random(f"{orders.seed} {orders.name}")
        self._made = 0

    def run(self) -> None:
        began = time.monotonic()
        while self._made < self._orders.count:
            due_s = began + self._made / self._orders.per_s
            time.sleep(max(0.0, due_s - time.monotonic()))
            if self._rng.random() < BULK_SHARE:
                self._add_bulk(self._rng.randint(2, BULK_MOST))
            else:
                self._add_one()

    def _draw(self) -> tuple[str, NewJob]:
        self._made += 1
        ticket = f"{self._orders.name}-{self._made}"
        job = draw(self._rng, ticket, self._orders.kinds)
        delay_ms = int((job.delay or "0ms").removesuffix("ms"))
        note(self._ledger, "submitted", ticket, job.name, delay_ms, now_ms())
        return ticket, job

    def _add_one(self) -> None:
        ticket, job = self._draw()
        names = ("delay", "priority", "lifo", "attempts", "backoff")
        options = {name: getattr(job, name) for name in names}
        own_id = ticket if self._rng.random() < OWN_ID_SHARE else None
        while True:
            try:
                added = self._queue.add(job.name, job.data, job_id=own_id, **options)
            except RedisUnavailable:
                if own_id is None:
                    return
                time.sleep(AGAIN_S)
            else:
                note(self._ledger, "acked", ticket, added.id, now_ms())
                return

    def _add_bulk(self, count: int) -> None:
        drawn = [self._draw() for _ in range(count)]
        try:
            added = self._queue.add_bulk([job for _ticket, job in drawn])
            ids = dict(enumerate(job.id for job in added))
        except BulkAddFailed as failure:
            ids = dict(failure.added)
        for at, job_id in ids.items():
            note(self._ledger, "acked", drawn[at][0], job_id, now_ms())


def main() -> None:
    """Produce, as the command line says."""
    orders = Orders(**json.loads(sys.argv[1]))
    with Queue(orders.queue, redis=orders.url) as queue:
        Producer(orders, queue, own_ledger()).run()


if __name__ == "__main__":
    main()
