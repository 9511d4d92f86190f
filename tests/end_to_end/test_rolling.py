"""Supervisors that are replaced, reloaded or frozen under load, and children that leak."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from statistics import mean
from typing import TYPE_CHECKING, Self

import psutil
import pytest

from tests.support.toril import TorilRun
from toril import NewJob, Queue

if TYPE_CHECKING:
    from pathlib import Path

QUEUE = "rolling"
MIB = 1024 * 1024
PROCESSORS = "tests.end_to_end.processors:processors"


@pytest.fixture
def queue(redis_url: str):
    with Queue(QUEUE, redis=redis_url) as queue:
        yield queue


def run(url: str, *flags: str, concurrency: int = 2) -> TorilRun:
    words = ("--concurrency", str(concurrency), *flags)
    return TorilRun(QUEUE, PROCESSORS, url, *words).ready()


class Load:
    """Adds jobs from a thread until told to stop."""

    def __init__(self, url: str, ledger: Path) -> None:
        self.ids: list[str] = []
        self._url = url
        self._data = {"seconds": 0.03, "ledger": str(ledger)}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._add)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _add(self) -> None:
        with Queue(QUEUE, redis=self._url) as queue:
            while not self._is_over.wait(0.03):
                self.ids.append(queue.add("work", self._data).id)


def ran(ledger: Path) -> Counter[tuple[str, str]]:
    """(word, job) → how often."""
    return Counter((line.split()[0], line.split()[1]) for line in ledger.read_text().splitlines())


def test_rolling_restart_and_reload_of_two_supervisors_lose_and_repeat_nothing(
    redis_url, queue, tmp_path
):
    ledger = tmp_path / "ledger"
    with Load(redis_url, ledger) as load, run(redis_url) as first, run(redis_url) as second:
        for toril in (first, second):
            toril.wait_for("job-settled")
            toril.stop(signal.SIGHUP)
            toril.wait_for("reloaded")
            toril.wait_for("job-settled", count=len(toril.found("job-settled")) + 5)
        first.stop()
        assert first.exit_code() == 0
        with run(redis_url) as third:
            second.stop()
            assert second.exit_code() == 0
            third.wait_for("job-settled", count=20)
            load.__exit__()
            third.wait_until(queue.counts, lambda counts: counts["completed"] == len(load.ids), 60)

    seen = ran(ledger)
    assert set(seen.values()) == {1}, "nothing ran twice"
    assert {job for word, job in seen if word == "finished"} == set(load.ids)


def test_frozen_supervisor_loses_its_job_and_its_late_result_is_refused(redis_url, queue):
    flags = ("--lock-duration", "1s", "--stalled-interval", "500ms")
    with run(redis_url, *flags, concurrency=1) as frozen:
        job = queue.add("nap-once", {"seconds": 1.5})
        frozen.wait_until(queue.counts, lambda counts: counts["active"] == 1, 20)
        theirs = frozen.wait_until(lambda: queue.get_job(job.id).progress, bool, 20)["pid"]
        frozen.stop(signal.SIGSTOP)
        try:
            with run(redis_url, *flags, concurrency=1) as other:
                time.sleep(3)  # Three locks: that nothing comes back meanwhile is the point.
                other.wait_until(job.state, lambda state: state == "completed", 30)
                by_other = queue.get_job(job.id)
        finally:
            frozen.stop(signal.SIGCONT)
        frozen.wait_until(
            lambda: frozen.found("lock-lost") + frozen.found("settlement-refused"), bool, 20
        )
        after = queue.get_job(job.id)

    assert by_other.returnvalue != theirs
    assert (after.returnvalue, after.state()) == (by_other.returnvalue, "completed")
    assert (after.attempts_started, after.attempts_made, after.stalls) == (2, 1, 1)
    assert not frozen.found("job-settled")


@pytest.mark.slow
@pytest.mark.parametrize("flags", [("--jobs-per-child", "100"), ("--child-growth", "20MiB")])
def test_leaking_processor_runs_10000_jobs_in_flat_memory_without_a_gap(redis_url, queue, flags):
    """Unreplaced it would keep 2 GB."""
    count = 10_000
    with run(redis_url, *flags) as toril:
        process = psutil.Process(toril.process.pid)
        for _ in range(count // 500):
            queue.add_bulk([NewJob("leak")] * 500)
        sizes, gaps, done, moved_s = [], [], 0, time.monotonic()
        while done < count:
            time.sleep(0.1)
            sizes.append(total_bytes(process))
            if (now := queue.counts()["completed"]) > done:
                gaps.append(time.monotonic() - moved_s)
                done, moved_s = now, time.monotonic()
            assert time.monotonic() - moved_s < 30, "nothing moves"
        assert not toril.found("child-gone")

    quarter = len(sizes) // 4
    assert mean(sizes[-quarter:]) < 1.25 * mean(sizes[quarter : 2 * quarter])
    assert max(sizes) < 500 * MIB
    assert max(gaps) < 2, "a replacement held the queue up"


def total_bytes(process: psutil.Process) -> int:
    """Private memory of a process and everything below it."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss - one.memory_info().shared
        except psutil.Error:
            continue
    return total
