"""Attacks through a real `toril run`: on its own Redis, its user's files, its other jobs."""

from __future__ import annotations

import os

import pytest

from tests.support import toril as support
from tests.support.toril import TorilRun
from toril import JobFailed, Queue
from toril.sandbox.levels import Level

ATTACKS = "tests.hostile.attacks:processors"
WALLS = [Level.RESTRICTED, pytest.param(Level.STRICT, marks=pytest.mark.slow)]
REFUSALS = {"EPERM", "EACCES", "ENOENT", "ENOSYS", "ESRCH", "EXDEV"}

STEPS = ["reach_redis_by_path", "read_private_files", "kill_others", "read_proc_of_others"]
ENDS = {
    "exit_with": "exited",
    "segfault": "crashed",
    "raise_base": "processor-exit",
    "return_nan": "result-invalid",
    "ignore_everything": "timed-out",
}


@pytest.fixture
def targets(tmp_path, redis_url):
    key = tmp_path / "id_ed25519"
    key.write_text("s3cr3t")
    key.chmod(0o600)
    socket = redis_url.removeprefix("unix://").partition("?")[0]
    paths = dict.fromkeys(("unix", "datagram"), socket)
    names = {"abstract": "nobody", "abstract_datagram": "nobody", "marker": "redis", "argument": 0}
    return {**paths, **names, "private": [str(key)], "private_folders": [str(tmp_path)]}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("level", WALLS)
def test_attackers_reach_nothing_and_cost_other_jobs_nothing(
    level, redis_url, targets, monkeypatch
):
    monkeypatch.setattr(support, "LEDGERS_ALLOWED", ())
    flags = ("--concurrency", "2", "--timeout", "1s", "--on-crash", "fail")
    with Queue("e2e", redis=redis_url) as queue:
        worker = TorilRun(
            "e2e", ATTACKS, redis_url, *flags, "--level", level.value, "--waive", "cgroup"
        )
        with worker.ready():
            pids = dict.fromkeys(("supervisor", "zygote", "sibling"), worker.process.pid)
            group = os.getpgid(worker.process.pid)
            data = {**targets, **pids, "supervisor_group": group}
            attacks = {name: queue.add(name, data) for name in STEPS}
            ends = {name: queue.add(name, 0) for name in ENDS}
            others = [queue.add("echo", number) for number in range(20)]

            assert [job.wait(timeout="60s") for job in others] == list(range(20))
            met = {name: job.wait(timeout="30s") for name, job in attacks.items()}
            for job in ends.values():
                with pytest.raises(JobFailed):
                    job.wait(timeout="30s")
            assert queue.add("echo", "after").wait(timeout="10s") == "after"
            assert worker.process.poll() is None

        assert {word for steps in met.values() for word in steps.values()} <= REFUSALS, met
        verdicts = {name: queue.get_job(job.id).verdict for name, job in ends.items()}
        assert verdicts == ENDS
