"""The pool with a real zygote: children are replaced without a gap and without a crowd."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager

import pytest

from tests.process.harness import GOOD, call_of, spec_of
from tests.process.processors.imports import write_module
from toril.call import Verdict
from toril.errors import ProcessorImportError
from toril.supervisor import succession
from toril.supervisor.pool import Pool

MIB = 1024 * 1024


class Listener:
    """Keeps what a pool says; events to await."""

    def __init__(self):
        self.ready = 0
        self.outcomes = []
        self.deaths = []
        self.errors = []
        self.resumed = 0
        self.running = set()
        self.most_running = 0
        self._changed = asyncio.Event()

    def __getattr__(self, name):
        if name.startswith("on_"):
            return lambda *_: None
        raise AttributeError(name)

    def on_ready(self):
        self.ready += 1
        self._changed.set()

    def on_outcome(self, child, _call, outcome):
        self.running.discard(child)
        self.outcomes.append((child, outcome))
        self._changed.set()

    def on_death(self, exit):  # noqa: A002
        self.deaths.append(exit)

    def on_unavailable(self, error):
        self.errors.append(error)
        self._changed.set()

    def on_available(self):
        self.resumed += 1
        self._changed.set()

    async def until(self, condition):
        while not condition():
            self._changed.clear()
            await self._changed.wait()


@asynccontextmanager
async def opened(size=1, processor=GOOD, **changes):
    listener = Listener()
    made = Pool(spec_of(processor, **changes), size, listener)
    await made.open()
    try:
        yield made, listener
    finally:
        await made.close()


async def run(pool, listener, name="echo", data=None):
    """One job to its outcome; returns its child."""
    await listener.until(lambda: pool.free)
    known = len(listener.outcomes)
    child = pool.run(call_of(name, data))
    await listener.until(lambda: len(listener.outcomes) > known)
    return child


@pytest.fixture
def no_spread(monkeypatch):
    monkeypatch.setattr(succession, "SPREAD", (1.0, 1.0))


without_spread = pytest.mark.usefixtures("no_spread")


@without_spread
async def test_child_that_has_run_its_jobs_is_replaced():
    async with opened(max_jobs=3) as (pool, listener):
        children = [await run(pool, listener) for _ in range(9)]

    assert [child.jobs_run for child in children] == [3] * 9
    assert len(set(children)) == 3
    assert listener.deaths == []


@without_spread
async def test_replacement_is_asked_for_when_the_last_job_begins():
    """It is idle by the time the job ends: there is no gap."""
    async with opened(max_jobs=1) as (pool, listener):
        await listener.until(lambda: pool.free)
        old = pool.run(call_of("nap", 0.5))
        await asyncio.sleep(0)
        crowd = set(pool.children)
        await listener.until(lambda: pool._idle)
        free_beside_a_running_job = pool.free
        await listener.until(lambda: listener.outcomes)
        free_at_once = pool.free
        new = pool.run(call_of("echo"))

    assert len(crowd) == 2
    assert {child.slot for child in crowd} == {1}
    assert free_beside_a_running_job == 0, "never more jobs than size"
    assert free_at_once == 1
    assert new is not old


@without_spread
async def test_free_place_of_a_replaced_child_is_told():
    async with opened(max_jobs=1) as (pool, listener):
        await listener.until(lambda: pool.free)
        pool.run(call_of("nap", 0.3))
        await listener.until(lambda: pool._idle)
        before = listener.ready
        await listener.until(lambda: listener.outcomes)

    assert listener.ready > before


@pytest.mark.parametrize(
    ("changes", "job"),
    [
        ({"max_rss_growth_bytes": 4 * MIB}, ("grow", 16 * MIB)),
        ({"max_age_s": 0.2}, ("nap", 0.3)),
    ],
)
async def test_child_that_has_grown_or_aged_is_replaced(changes, job):
    async with opened(**changes) as (pool, listener):
        old = await run(pool, listener, *job)
        await listener.until(lambda: pool._idle and old not in pool._idle)
        new = pool.run(call_of("echo"))

    assert new is not old
    assert listener.deaths == []


async def test_worn_child_serves_on_until_its_successor_is_there():
    async with opened(max_rss_growth_bytes=4 * MIB) as (pool, listener):
        old = await run(pool, listener, "grow", 16 * MIB)
        await listener.until(lambda: old in pool._idle)
        successor = pool._succession.successors[old]
        served = pool.run(call_of("nap", 0.3))
        await listener.until(lambda: pool._idle)
        await listener.until(lambda: len(listener.outcomes) == 2)
        next_one = pool.run(call_of("echo"))

    assert served is old, "the successor is forked, but not ready yet"
    assert next_one is successor


@without_spread
async def test_never_more_jobs_run_than_the_pool_is_large():
    async with opened(size=2, max_jobs=1) as (pool, listener):
        for _ in range(30):
            await listener.until(lambda: pool.free)
            listener.running.add(pool.run(call_of("nap", 0.01)))
            listener.most_running = max(listener.most_running, len(listener.running))
        await listener.until(lambda: len(listener.outcomes) == 30)

    assert listener.most_running == 2
    assert {outcome.verdict for _, outcome in listener.outcomes} == {Verdict.RETURNED}
    assert listener.deaths == []


async def test_children_do_not_all_go_together():
    async with opened(size=2, max_jobs=100_000) as (pool, listener):
        await listener.until(lambda: pool.free == 2)
        jobs = {service.jobs for service in pool._succession.services.values()}

    assert len(jobs) == 2
    assert all(90_000 <= count <= 110_000 for count in jobs)


async def test_import_that_fails_in_the_child_pauses_the_pool_and_is_told_once(tmp_path):
    """It is tried again with growing pauses, and resumes by itself when the module is mended."""
    path = write_module(tmp_path, "broken", "1 / 0\n")
    async with opened(2, path, folder=tmp_path, import_in="child") as (pool, listener):
        await listener.until(lambda: listener.errors)
        await asyncio.sleep(0.5)
        tries = pool._stillborn
        write_module(tmp_path, "broken", "")
        await listener.until(lambda: pool.free == 2)

    assert len(listener.errors) == 1
    assert isinstance(listener.errors[0], ProcessorImportError)
    assert "ZeroDivisionError" in listener.errors[0].traceback
    assert 2 <= tries <= 10, "no storm"
    assert listener.resumed == 1
    assert listener.deaths == []


@without_spread
async def test_dying_successor_does_not_take_the_worn_child_along():
    async with opened(max_age_s=0.1) as (pool, listener):
        await listener.until(lambda: pool.free)
        await asyncio.sleep(0.15)
        old = pool.run(call_of("nap", 0.3))
        successor = pool._succession.successors[old]
        await listener.until(lambda: pool._idle == [] or successor.pid)
        successor.process.signal(9)
        await listener.until(lambda: listener.outcomes)
        await listener.until(lambda: pool.free)

    assert listener.outcomes[0][1].verdict is Verdict.RETURNED


async def test_child_that_dies_idle_is_replaced_although_its_call_is_lost():
    """LOST is said of a call that never arrived, too: the zygote lives, and so must the slot."""
    async with opened() as (pool, listener):
        await listener.until(lambda: pool.free)
        (child,) = pool._offered()
        os.kill(child.pid, signal.SIGKILL)
        pool.run(call_of("echo"))
        await listener.until(lambda: listener.outcomes and pool.free)
        (_, outcome) = listener.outcomes[0]
        assert outcome.verdict in {Verdict.LOST, Verdict.CRASHED}
        await run(pool, listener)
        assert listener.outcomes[-1][1].verdict is Verdict.RETURNED


async def test_pool_goes_on_trying_whatever_a_new_zygote_fails_with(monkeypatch):
    """Anything else would leave a worker that takes no jobs and says nothing."""
    async with opened() as (pool, listener):
        await listener.until(lambda: pool.free)
        failures = [OSError("no luck"), KeyError("odd")]
        start = pool._start

        async def unlucky():
            if failures:
                raise failures.pop()
            await start()

        monkeypatch.setattr(pool, "_start", unlucky)
        os.kill(pool.zygote_pid, signal.SIGKILL)
        await listener.until(lambda: listener.errors)
        await run(pool, listener)

    assert failures == []
    assert listener.outcomes[-1][1].verdict is Verdict.RETURNED
