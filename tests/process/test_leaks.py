"""A supervisor's descriptors, threads and temporary files stay as they are, whatever jobs do."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

import pytest

from tests.process.harness import HOSTILE, call_of, open_fds, spec_of
from tests.process.test_pool import Listener
from toril.supervisor.pool import Pool

if TYPE_CHECKING:
    from toril.call import Verdict

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
