"""A job for RQ."""

from __future__ import annotations

import os

from redis import Redis
from rq import Queue


def noop() -> None:
    pass


def add(jobs: int) -> None:
    """Put jobs into the queue."""
    queue = Queue(connection=Redis.from_url(os.environ["BENCH_REDIS"]))
    queue.enqueue_many([Queue.prepare_data("rq_noop.noop") for _ in range(jobs)])
