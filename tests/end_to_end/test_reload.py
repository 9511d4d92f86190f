"""SIGHUP: new configuration and code, all of it or nothing, and no job that notices."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.end_to_end.test_service import Manager
from tests.support.toril import TorilRun
from toril import Queue

if TYPE_CHECKING:
    from pathlib import Path

    from toril import Job

QUEUE = "reload"
OLD = """
import time

def process(job):
    if job.name == "long":
        job.update_progress(1)
        time.sleep(job.data)
    return "old"
"""
NEW = OLD.replace('"old"', '"new code"')


class Site:
    """A module, a settings file, and the supervisor that works by them."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.file = folder / "settings.json"
        self.code(OLD)

    def code(self, source: str, module: str = "reloaded") -> None:
        """Write a processor."""
        (self.folder / f"{module}.py").write_text(source)

    def settings(self, *queues: dict[str, Any], **top: Any) -> None:
        """Write settings; a queue without a name is the usual one."""
        usual = {"name": QUEUE, "processor": "reloaded:process", "concurrency": 1, "limits": {}}
        told = {"redis": self.url, "queues": [usual | queue for queue in queues or ({},)], **top}
        self.file.write_text(json.dumps(told))

    def start(self, **environ: str) -> TorilRun:
        """A supervisor that is ready."""
        command = ("-m", "tests.end_to_end.reloading", str(self.file))
        environ = {"PYTHONPATH": str(self.folder), **environ}
        return TorilRun(QUEUE, "-", self.url, command=command, environ=environ).ready()


@pytest.fixture
def site(tmp_path, redis_url):
    made = Site(tmp_path, redis_url)
    made.settings()
    return made


@pytest.fixture
def queue(redis_url: str):
    with Queue(QUEUE, redis=redis_url) as queue:
        yield queue


def result(toril: TorilRun, queue: Queue, job: Job) -> Any:
    toril.wait_until(job.state, lambda state: state in {"completed", "failed"}, 30)
    ended = queue.get_job(job.id)
    assert (ended.state(), ended.interruptions, ended.attempts_started) == ("completed", 0, 1)
    return ended.returnvalue


def zygotes(toril: TorilRun) -> list[int]:
    return sorted(one.pid for one in psutil.Process(toril.process.pid).children())


def test_running_job_ends_by_the_old_code_and_the_next_runs_by_the_new(site, queue):
    site.settings({"concurrency": 2})
    with site.start() as toril:
        running = queue.add("long", 2.5)
        toril.wait_until(lambda: queue.get_job(running.id).progress, bool, 20)
        site.code(NEW)
        toril.stop(signal.SIGHUP)
        (told,) = toril.wait_for("reloaded")
        assert running.state() == "active"
        fresh = [result(toril, queue, queue.add("quick", None)) for _ in range(3)]
        before = result(toril, queue, running)
        after = result(toril, queue, queue.add("quick", None))
        toril.wait_until(lambda: zygotes(toril), lambda found: len(found) == 1, 20)

    assert (told["applied"], told["waiting"]) == ([], [])
    assert (before, set(fresh), after) == ("old", {"new code"}, "new code")


def test_job_that_fills_the_only_place_is_not_joined_by_another(site, queue, redis_client):
    """Old and new children together run no more jobs than the queue's concurrency."""
    with site.start() as toril:
        running = queue.add("long", 1.5)
        toril.wait_until(lambda: queue.get_job(running.id).progress, bool, 20)
        site.code(NEW)
        toril.stop(signal.SIGHUP)
        toril.wait_for("reloaded")
        following = queue.add("quick", None)
        assert result(toril, queue, following) == "new code"
        assert result(toril, queue, running) == "old"

    times = [
        int(redis_client.hget(f"bull:{QUEUE}:{job.id}", name))
        for job, name in ((running, "finishedOn"), (following, "processedOn"))
    ]
    assert times == sorted(times)


@pytest.mark.parametrize("import_in", ["zygote", "child"])
@pytest.mark.parametrize(
    ("source", "reason"), [("1 / 0\n", "ZeroDivisionError"), ("other = 1\n", "process")]
)
def test_code_that_cannot_be_imported_changes_nothing(site, queue, import_in, source, reason):
    site.settings({"import_in": import_in})
    with site.start() as toril:
        assert result(toril, queue, queue.add("quick", None)) == "old"
        before = zygotes(toril)
        site.code(source)
        site.settings({"import_in": import_in, "concurrency": 3})
        toril.stop(signal.SIGHUP)
        (failed,) = toril.wait_for("reload-failed")
        assert reason in failed["reason"] + failed["traceback"]
        assert result(toril, queue, queue.add("quick", None)) == "old"
        toril.wait_until(lambda: zygotes(toril), lambda found: found == before, 20)
        site.code(NEW)
        toril.stop(signal.SIGHUP)
        toril.wait_for("reloaded", applied=[f"queues.{QUEUE}.concurrency"])
        assert result(toril, queue, queue.add("quick", None)) == "new code"


def test_settings_apply_at_once_or_are_named_as_waiting_for_a_restart(site, queue):
    with site.start() as toril:
        site.settings(
            {"concurrency": 3, "lock_ms": 20_000, "limits": {"timeout_s": 1.0, "grace_s": 0.5}},
            {"name": "another"},
            prefix="elsewhere",
            drain_timeout_ms=5_000,
        )
        toril.stop(signal.SIGHUP)
        (told,) = toril.wait_for("reloaded")
        late = queue.add("long", 60)
        toril.wait_until(late.state, lambda state: state == "failed", 20)
        toril.stop(signal.SIGUSR1)
        (dump,) = toril.wait_for("state-dumped")

    assert set(told["applied"]) == {
        "drain_timeout",
        f"queues.{QUEUE}.concurrency",
        f"queues.{QUEUE}.timeout",
        f"queues.{QUEUE}.sandbox.grace",
    }
    assert told["waiting"] == ["prefix", f"queues.{QUEUE}.lock_duration", "queues.another (new)"]
    assert dump["concurrency"] == 3
    assert "timeout 1.0 s" in dump["limits"]


@pytest.mark.parametrize("broken", ["{", '{"redis": "redis://x", "queues": []}'])
def test_settings_that_cannot_be_used_change_nothing(site, queue, broken):
    with site.start() as toril:
        site.file.write_text(broken)
        toril.stop(signal.SIGHUP)
        toril.wait_for("reload-failed")
        assert result(toril, queue, queue.add("quick", None)) == "old"


def test_no_queue_changes_unless_all_can(site, queue):
    site.code(OLD, "second")
    other = {"name": "other", "processor": "second:process"}
    site.settings({}, other)
    with site.start() as toril:
        toril.wait_for("worker-started", count=2)
        site.code(NEW)
        site.code("raise OSError('the second is broken')\n", "second")
        toril.stop(signal.SIGHUP)
        (failed,) = toril.wait_for("reload-failed")
        assert "the second is broken" in failed["reason"]
        assert result(toril, queue, queue.add("quick", None)) == "old"
        toril.wait_until(lambda: zygotes(toril), lambda found: len(found) == 2, 20)


def test_no_gap_in_claiming_while_it_reloads(site, queue):
    """The new code takes two seconds to import; jobs are worked all the while."""
    with site.start() as toril:
        site.code("import time\ntime.sleep(2)\n" + NEW)
        toril.stop(signal.SIGHUP)
        toril.wait_for("reloading")
        took_s = []
        while not toril.found("reloaded"):
            began_s = time.monotonic()
            result(toril, queue, queue.add("quick", None))
            took_s.append(time.monotonic() - began_s)
        assert result(toril, queue, queue.add("quick", None)) == "new code"

    assert len(took_s) >= 3
    assert max(took_s) < 1.9, "a job waited for the import"


def test_stop_during_a_reload_leaves_nothing_behind(site):
    with site.start() as toril:
        site.code("import time\ntime.sleep(30)\n" + NEW)
        toril.stop(signal.SIGHUP)
        toril.wait_for("reloading")
        toril.wait_until(lambda: zygotes(toril), lambda found: len(found) == 2, 20)
        family = psutil.Process(toril.process.pid).children(recursive=True)
        toril.stop()
        assert toril.exit_code() == 0

    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []


def test_dead_zygote_during_a_reload_leaves_the_new_one_alone(site, queue):
    """What a dead zygote leaves is swept while another preloads: that one is no stranger."""
    with site.start() as toril:
        result(toril, queue, queue.add("quick", None))
        (old,) = zygotes(toril)
        site.code("import time\ntime.sleep(1.5)\n" + NEW)
        toril.stop(signal.SIGHUP)
        toril.wait_until(lambda: zygotes(toril), lambda found: len(found) == 2, 20)
        os.kill(old, signal.SIGKILL)
        toril.wait_for("reloaded")
        assert result(toril, queue, queue.add("quick", None)) == "new code"
        assert not toril.found("reload-failed")


def test_service_manager_is_told(site, tmp_path):
    with Manager(tmp_path) as manager, site.start(NOTIFY_SOCKET=manager.address) as toril:
        manager.wait_for(lambda word: word == "READY=1")
        at_s = time.monotonic()
        toril.stop(signal.SIGHUP)
        began = manager.wait_for(lambda word: word.startswith("RELOADING=1\nMONOTONIC_USEC="), at_s)
        manager.wait_for(lambda word: word == "READY=1", at_s)
        assert began


def test_listeners_are_new_too(site, queue):
    source = (
        "def completed(event):\n    print('the OLD one heard')\n\n"
        "listeners = {'completed': completed}\n"
    )
    site.code(source, "heard")
    site.settings({"listeners": "heard:listeners"})
    with site.start() as toril:
        result(toril, queue, queue.add("quick", None))
        toril.wait_for("job-output", line="the OLD one heard")
        site.code(source.replace("OLD", "newer"), "heard")
        toril.stop(signal.SIGHUP)
        toril.wait_for("reloaded")
        result(toril, queue, queue.add("quick", None))
        toril.wait_for("job-output", line="the newer one heard")
        site.code("1 / 0\n", "heard")
        toril.stop(signal.SIGHUP)
        toril.wait_for("reload-failed")
        toril.wait_until(lambda: zygotes(toril), lambda found: len(found) == 2, 20)


def test_a_rate_limit_is_offered_and_one_in_force_is_named(site, queue, tmp_path):
    file = tmp_path / "toril.toml"
    table = f"[queues.{QUEUE}]\nconcurrency = {{ min = 1, max = 2 }}\n"
    file.write_text(f'{table}rate_limit = {{ tokens = 50, per = "1s" }}\n')
    flags = ("--config", str(file), "--level", "process")
    environ = {"PYTHONPATH": str(tmp_path)}
    with TorilRun(QUEUE, "reloaded:process", site.url, *flags, environ=environ).ready() as toril:
        (started,) = toril.wait_for("worker-started")
        file.write_text(f'{table}rate_limit = {{ tokens = 60, per = "1s" }}\n')
        toril.stop(signal.SIGHUP)
        (differs,) = toril.wait_for("limit-differs")
        file.write_text(f'{table}rate_limit = {{ tokens = 70, per = "1s", revision = 1 }}\n')
        toril.stop(signal.SIGHUP)
        toril.wait_until(queue.get_rate_limit, lambda limit: limit.tokens == 70, 20)

    assert started["concurrency"] == 1
    assert differs["configured"] == "60 in 1.0 s, bursts of 60 (revision 0)"
    assert differs["in_force"] == "50 in 1.0 s, bursts of 50 (revision 0)"


def test_run_reads_its_file_again(site, queue, tmp_path):
    file = tmp_path / "toril.toml"
    file.write_text(f"[queues.{QUEUE}]\nconcurrency = 1\n")
    flags = ("--config", str(file), "--level", "process")
    environ = {"PYTHONPATH": str(tmp_path)}
    with TorilRun(QUEUE, "reloaded:process", site.url, *flags, environ=environ).ready() as toril:
        file.write_text(f"[queues.{QUEUE}]\nconcurrency = 2\ntimeuot = '3s'\n")
        toril.stop(signal.SIGHUP)
        (failed,) = toril.wait_for("reload-failed")
        assert "did you mean timeout" in failed["reason"]
        file.write_text(f"[queues.{QUEUE}]\nconcurrency = 2\ntimeout = '3s'\n")
        toril.stop(signal.SIGHUP)
        (told,) = toril.wait_for("reloaded")
        assert result(toril, queue, queue.add("quick", None)) == "old"

    assert told["applied"] == [
        f"queues.{QUEUE}.concurrency",
        f"queues.{QUEUE}.timeout",
    ]
