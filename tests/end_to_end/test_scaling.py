"""Children follow the backlog of a real queue, up and down, and no job notices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.test_reload import QUEUE, Site
from toril import Queue

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> Site:
    made = Site(tmp_path, redis_url)
    made.settings({"concurrency": 2, "min_concurrency": 1})
    return made


def test_children_come_with_the_backlog_and_go_without_it(site, redis_url):
    """Busy children are never ended for it: the job that began first is the last to end."""
    with Queue(QUEUE, redis=redis_url) as queue, site.start() as toril:
        jobs = [queue.add("long", 8)]
        jobs += [queue.add("long", 0.5) for _ in range(2)]
        toril.wait_for("scaled", before=1, after=2, timeout_s=20)
        toril.wait_until(queue.counts, lambda counts: counts["active"] == 2, 20)
        toril.wait_for("scaled", before=2, after=1, timeout_s=60)
        for job in jobs:
            toril.wait_until(job.state, lambda state: state == "completed", 30)
            assert queue.get_job(job.id).attempts_started == 1

    steps = [(event["before"], event["after"]) for event in toril.found("scaled")]
    assert steps == [(1, 2), (2, 1)]
