"""A Huey task and its queue. Results are not kept."""

from __future__ import annotations

import os

from huey import RedisHuey

huey = RedisHuey("bench", url=os.environ["BENCH_REDIS"], results=False)


@huey.task()
def noop() -> None:
    pass


def add(jobs: int) -> None:
    """Put jobs into the queue."""
    for _ in range(jobs):
        noop()
