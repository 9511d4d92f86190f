"""A Celery application.

As its documentation advises for many short tasks: a large prefetch, no results, no events. Late
acknowledgement because every side here delivers at least once.
"""

from __future__ import annotations

import os

from celery import Celery

SOCKET = os.environ["BENCH_REDIS"].removeprefix("unix://").partition("?")[0]

app = Celery("bench", broker=f"redis+socket://{SOCKET}")
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=64,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="noop")
def noop() -> None:
    pass


def add(jobs: int) -> None:
    """Put jobs into the queue."""
    with app.producer_pool.acquire() as producer:
        for _ in range(jobs):
            noop.apply_async(producer=producer)
