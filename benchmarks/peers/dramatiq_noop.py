"""A Dramatiq actor and its broker."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_REDIS"]))


@dramatiq.actor
def noop() -> None:
    pass


def add(jobs: int) -> None:
    """Put jobs into the queue."""
    for _ in range(jobs):
        noop.send()
