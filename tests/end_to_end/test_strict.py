"""A worker at level `strict`: a child for every job, and none left."""

from __future__ import annotations

import os

import pytest

from tests.process.harness import is_alive
from tests.support.toril import TorilRun
from toril import NewJob, Queue
from toril.sandbox import cgroup

QUEUE = "apart"
JOBS = 20


@pytest.mark.skipif(cgroup.look()[0], reason="needs a host without a delegated control group")
def test_every_job_has_a_child_of_its_own(redis_url):
    with Queue(QUEUE, redis=redis_url) as queue:
        jobs = queue.add_bulk(NewJob("echo", {"n": number}) for number in range(JOBS))
        flags = ("--level", "strict", "--waive", "cgroup", "--until-empty", "--concurrency", "2")
        with TorilRun(QUEUE, "tests.end_to_end.processors:processors", redis_url, *flags) as worker:
            assert worker.exit_code() == os.EX_OK
        found = [queue.get_job(job.id) for job in jobs]

    pids = [job.history[-1].pid for job in found]
    assert len(set(pids)) == JOBS
    assert not any(is_alive(pid) for pid in pids)
