"""Which level a worker has, what it refuses to start without, and what its operator may waive."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.support.hidden import LANDLOCK, behind
from tests.support.tied import tied
from tests.support.toril import ROOT, TorilRun
from toril import Queue

PROCESSORS = "tests.end_to_end.processors:processors"


def toril(*words: str, without: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "toril", *words]
    return subprocess.run(
        tied(behind(without, command) if without else command),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_restricted_is_the_level_that_nobody_has_to_name(redis_url):
    with Queue("levels", redis=redis_url) as queue:
        job = queue.add("echo", {"a": 1})
        with TorilRun("levels", PROCESSORS, redis_url, "--until-empty") as worker:
            (started,) = worker.wait_for("worker-started")
            assert worker.exit_code() == os.EX_OK
        assert started["isolation"] == "restricted"
        assert weakened(worker) == []
        assert job.state() == "completed"


def weakened(worker: TorilRun) -> list[str]:
    """What a worker went without; users of their own are waived for every worker of the tests."""
    told = worker.found("level-weakened")
    assert all(one["isolation"] == "restricted" for one in told)
    return [name for one in told for name in one["missing"] if name != "uid"]


def test_a_worker_does_not_start_where_its_level_cannot_be_enforced(redis_url):
    with Queue("levels", redis=redis_url) as queue:
        job = queue.add("echo", {})
        words = ("run", "--queue", "levels", "--processor", PROCESSORS, "--redis", redis_url)
        done = toril(*words, without=LANDLOCK)
        assert done.returncode == os.EX_CONFIG
        assert 'level "restricted" cannot be enforced on this host: landlock: ' in done.stderr
        assert "kernel from 5.13 on" in done.stderr
        assert "--level process" in done.stderr
        assert queue.get_job(job.id).attempts_started == 0


def test_a_waiver_in_the_settings_is_told_at_every_start(redis_url):
    with Queue("levels", redis=redis_url) as queue:
        job = queue.add("echo", {})
        flags = ("--until-empty", "--waive", "landlock")
        command = tuple(behind(LANDLOCK, [sys.executable, "-m", "toril", "run"])[1:])
        with TorilRun("levels", PROCESSORS, redis_url, *flags, command=command) as worker:
            worker.wait_for("level-weakened")
            assert worker.exit_code() == os.EX_OK
        assert weakened(worker) == ["landlock"]
        assert job.state() == "completed"


def test_a_waiver_that_is_not_needed_weakens_nothing(redis_url):
    with TorilRun(
        "levels", PROCESSORS, redis_url, "--until-empty", "--waive", "landlock"
    ) as worker:
        assert worker.exit_code() == os.EX_OK
        assert weakened(worker) == []


def test_a_waiver_of_nothing_known_is_refused():
    done = toril(
        *("run", "--queue", "q", "--processor", "a:b", "--redis", "redis://x"),
        *("--waive", "everything"),
    )
    assert done.returncode == os.EX_CONFIG
    assert "--waive names 'everything'; expected one of landlock, seccomp" in done.stderr


def test_the_doctor_tells_every_mechanism_and_level():
    done = toril("doctor", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == os.EX_OK
    assert told["levels"]["process"] is told["levels"]["restricted"] is True
    assert {"landlock", "seccomp"} <= {row["name"] for row in told["mechanisms"]}
    assert "level restricted: can be enforced" in toril("doctor").stdout


def test_the_doctor_names_the_remedy_of_what_is_missing():
    done = toril("doctor", without=LANDLOCK)
    assert done.returncode == os.EX_CONFIG
    assert "NO  landlock" in done.stdout
    assert "remedy: Use a kernel from 5.13 on" in done.stdout
    assert "level restricted: cannot be enforced" in done.stdout


def test_a_job_adds_to_queues_that_were_allowed_and_to_no_other(redis_url):
    with Queue("levels", redis=redis_url) as queue, Queue("onward", redis=redis_url) as onward:
        allowed = queue.add("send-on", {"queue": "onward"})
        refused = queue.add("send-on", {"queue": "elsewhere"})
        flags = ("--until-empty", "--allow-queue", "onward")
        with TorilRun("levels", PROCESSORS, redis_url, *flags) as worker:
            assert worker.exit_code() == os.EX_OK
        assert queue.get_job(allowed.id).returnvalue == "1"
        assert onward.get_job("1").name == "echo"
        reason = queue.get_job(refused.id).failed_reason
        assert "'elsewhere' is not one that this job may add to" in reason
        assert "--allow-queue elsewhere" in reason
