"""A supervisor's descriptors, threads and temporary files stay as they are, whatever jobs do."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

import pytest

from tests.process.harness import HOSTILE, call_of, open_fds, spec_of
from tests.process.test_pool import Listener
from toril.sandbox import proc
from toril.sandbox.levels import Level
from toril.supervisor.pool import Pool

if TYPE_CHECKING:
    from toril.call import Verdict

MIB = 1024 * 1024

JOBS = [
    ("exit_politely", 1),
    ("segfault", None),
    ("return_bytes_of_text", 300_000),
    ("exit_with", 3),
    ("return_a_set", None),
    ("break_rule", "garbage"),
    ("daemonise", None),
    ("leave_thread", None),
    ("open_many", None),
    ("close_everything", None),
]


async def run_all(count: int) -> list[Verdict]:
    listener = Listener()
    pool = Pool(spec_of(HOSTILE, timeout_s=10.0), 2, listener)
    await pool.open()
    for number in range(count):
        await listener.until(lambda: pool.free)
        pool.run(call_of(*JOBS[number % len(JOBS)]))
        pool._failures = 0  # Its pauses after deaths are not what this is about.
    await listener.until(lambda: len(listener.outcomes) == count)
    await pool.close()
    return [outcome.verdict for _, outcome in listener.outcomes]


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.timeout(1200)
async def test_nothing_grows_over_many_jobs_with_crashes(count, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    await run_all(len(JOBS))  # uvloop keeps one /dev/null from its first pipe on.
    await asyncio.sleep(0.05)  # No event tells when the loop has closed what it holds.
    fds, threads = open_fds(), threading.active_count()
    verdicts = await run_all(count)
    await asyncio.sleep(0.05)

    assert len(set(verdicts)) == 6
    assert len(verdicts) == count
    assert {fd.split()[0] for fd in open_fds()} == {fd.split()[0] for fd in fds}
    assert threading.active_count() == threads
    assert os.listdir(tmp_path) == []  # noqa: PTH208


LIVES = [
    ("echo_and_leave", 1),
    ("kill_itself", None),
    ("exit_with", 0),
    ("break_rule", "garbage"),
    ("litter_and_leave", 3),
]
"""One job each, then the child is gone: told to go, or by its own doing."""

MOST_OF_A_POOL = 4
"""Two children, and their successors; twice as many processes where each has one between."""

WARM_UP = 40
"""Lives after which memory is looked at first; chosen: caches are filled by then."""

SHORT = {Level.RESTRICTED: 500}
"""Lives in every run; the other levels, and 10,000 of each, are for the full suite."""


def soaks() -> list[object]:
    slow = [pytest.mark.slow, pytest.mark.timeout(3000)]
    counted = [(level, count) for level in Level for count in (500, 10_000)]
    return [
        pytest.param(
            level,
            count,
            id=f"{level.value}-{count}",
            marks=pytest.mark.timeout(200) if SHORT.get(level) == count else slow,
        )
        for level, count in counted
    ]


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm", "rb") as statm:  # noqa: PTH123 - a name in /proc
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Forgetful(Listener):
    """Counts outcomes; to keep them, and their children, would be the growth it looks for."""

    ended = 0

    def on_outcome(self, _child, _call, _outcome):
        self.ended += 1
        self._changed.set()

    def on_unavailable(self, error):
        raise error


async def live(level: Level, count: int) -> tuple[int, int]:
    """So many jobs, each in a child of its own; growth of supervisor and zygote after the first."""
    listener = Forgetful()
    lives = [one for one in LIVES if level is not Level.PROCESS or one[0] != "litter_and_leave"]
    pool = Pool(
        spec_of(HOSTILE, level=level, waive=("cgroup",), timeout_s=20.0, max_jobs=1), 2, listener
    )
    await pool.open()
    try:
        return await _grown(pool, listener, lives, count)
    finally:
        await pool.close()


async def _grown(pool: Pool, listener: Forgetful, lives: list, count: int) -> tuple[int, int]:
    zygote, before = pool._zygote.pid, (0, 0)
    for number in range(count + WARM_UP):
        await listener.until(lambda: pool.free)
        if number == WARM_UP:
            before = (resident_bytes(os.getpid()), resident_bytes(zygote))
        pool.run(call_of(*lives[number % len(lives)]))
        pool._failures = 0  # As above.
    await listener.until(lambda: listener.ended == count + WARM_UP)
    after = (resident_bytes(os.getpid()), resident_bytes(zygote))
    assert pool._zygote.pid == zygote
    assert len(proc.child_pids(zygote)) <= 2 * MOST_OF_A_POOL
    return after[0] - before[0], after[1] - before[1]


@pytest.mark.parametrize(("level", "count"), soaks())
async def test_nothing_grows_over_many_lives(level, count, tmp_path, monkeypatch):
    """Forked, one job, gone: descriptors, memory, zombies and directories stay as they were."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    await live(level, 1)
    await asyncio.sleep(0.05)  # As above.
    fds = open_fds()
    supervisor_bytes, zygote_bytes = await live(level, count)
    await asyncio.sleep(0.05)

    assert supervisor_bytes < 8 * MIB
    assert zygote_bytes < 2 * MIB
    assert {fd.split()[0] for fd in open_fds()} == {fd.split()[0] for fd in fds}
    assert os.listdir(tmp_path) == []  # noqa: PTH208
