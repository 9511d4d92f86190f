"""Schedulers, which toril does not run: it says so, and leaves everything as it was."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.interop.compare import queue_view

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from tests.interop.node import NodeDriver
    from tests.support.toril import TorilRun


def _view(client: redis.Redis, queue: str) -> dict[str, object]:
    """The queue without the sweep's throttle, which says when somebody last looked."""
    return {k: said for k, said in queue_view(client, queue).items() if k != "stalled-check"}


def test_scheduled_job_is_refused_and_unchanged(
    node: NodeDriver,
    queue_name: str,
    toril_run: Callable[..., TorilRun],
    redis_client: redis.Redis,
):
    node.call(
        "upsertScheduler",
        queue=queue_name,
        id="hourly",
        repeat={"every": 3_600_000},
        template={"name": "echo", "data": 1},
    )
    before = _view(redis_client, queue_name)

    run = toril_run()

    assert run.exit_code() == os.EX_UNAVAILABLE
    assert "repeat:hourly:" in "\n".join(run.lines)
    assert "scheduler" in "\n".join(run.lines)
    assert _view(redis_client, queue_name) == before
    assert len(node.call("schedulers", queue=queue_name)) == 1
