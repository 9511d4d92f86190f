"""Round trips that overlap: nothing is lost, or run twice, for what is taken a little later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.invariants.stage import ORDINARY, QUEUE
from tests.support.fault_proxy import FaultProxy
from toril import NewJob, Queue
from toril.runtime.claim import Claimed
from toril.supervisor.settings import QueueSettings, Settings
from toril.supervisor.worker import Worker

if TYPE_CHECKING:
    from pathlib import Path

    import redis

    from tests.support.servers import RedisServer
    from toril.runtime.store import Trip

JOBS, CUTS = 3000, 4


class Watched(Worker):
    """Notes when its round trips leave and when they are taken, by their order."""

    def __init__(self, url: str) -> None:
        queue = QueueSettings(QUEUE, ORDINARY, concurrency=2)
        super().__init__(queue, Settings(url, (queue,), until_empty=True), lambda _event: None)
        self.sent = 0
        self.taken_late = 0
        self.unheld = 0
        self._send, self._read = self._store.send, self._store.read
        self._store.send, self._store.read = self._noted_send, self._noted_read
        self._trips: dict[int, int] = {}

    def _noted_send(self, *what: object) -> Trip:
        self.sent += 1
        trip = self._send(*what)
        self._trips[id(trip)] = self.sent
        return trip

    def _noted_read(self, trip: Trip) -> object:
        self.taken_late += self._trips.pop(id(trip)) < self.sent
        answer = self._read(trip)
        asyncio.get_running_loop().call_soon(self._count_unheld, answer.claimed)
        return answer

    def _count_unheld(self, claimed: Claimed | None) -> None:
        """Whatever was done before the loop turns once: each is held, or has ended in Redis."""
        claims = claimed.claims if isinstance(claimed, Claimed) else ()
        self.unheld += sum(not self._keeper.holds(one) for one in claims)


async def emptied(worker: Watched) -> None:
    await worker.open()
    await worker.run()


def starts(redis_url: str) -> tuple[dict[str, int], set[tuple[int, int, int]]]:
    with Queue(QUEUE, redis=redis_url) as queue:
        jobs = queue.get_jobs(["completed"], 0, JOBS)
        return queue.counts(), {(one.attempts_started, one.stalls, one.crashes) for one in jobs}


def test_next_round_trip_leaves_before_the_last_one_is_taken(redis_url: str) -> None:
    with Queue(QUEUE, redis=redis_url) as queue:
        queue.add_bulk(NewJob("echo") for _ in range(JOBS))

    async def undisturbed() -> Watched:
        await emptied(worker := Watched(redis_url))
        return worker

    worker = asyncio.run(undisturbed())

    counts, ran = starts(redis_url)
    assert counts["completed"] == JOBS
    assert ran == {(1, 0, 0)}
    assert worker.taken_late > 0
    assert worker.unheld == 0


@pytest.mark.parametrize("fault", ["cut", "cut_in_reply"])
def test_lost_replies_between_them_cost_no_job_and_no_second_run(
    redis_server: RedisServer, tmp_path: Path, fault: str
) -> None:
    with Queue(QUEUE, redis=redis_server.url) as queue:
        queue.add_bulk(NewJob("echo") for _ in range(JOBS))

    async def disturbed(proxy: FaultProxy) -> None:
        worker, cuts = Watched(proxy.url), 0
        working = asyncio.create_task(emptied(worker))
        while not working.done():
            await asyncio.sleep(0.002)
            if cuts < CUTS and worker.taken_late > 3 * cuts:
                cuts += 1
                getattr(proxy, fault)()
        await working

    with FaultProxy(redis_server.socket_path, tmp_path) as proxy:
        asyncio.run(disturbed(proxy))

    counts, ran = starts(redis_server.url)
    assert proxy.were_cut == CUTS
    assert counts["completed"] == JOBS
    assert ran == {(1, 0, 0)}


def test_a_worker_that_stops_between_them_leaves_nothing_behind(redis_url: str) -> None:
    """What was claimed and not taken yet is run or given back, and counts for nothing."""
    with Queue(QUEUE, redis=redis_url) as queue:
        queue.add_bulk(NewJob("echo") for _ in range(JOBS))

    async def stopped() -> None:
        worker = Watched(redis_url)
        working = asyncio.create_task(emptied(worker))
        while not working.done():
            await asyncio.sleep(0.001)
            if worker.taken_late >= 5:
                worker.stop_now()
        await working

    asyncio.run(stopped())

    with Queue(QUEUE, redis=redis_url) as queue:
        counts = queue.counts()
        waiting = queue.get_jobs(["waiting"], 0, JOBS)
    assert counts["active"] == 0
    assert counts["completed"] + counts["waiting"] == JOBS
    assert counts["waiting"] > 0
    assert {(one.attempts_made, one.stalls, one.crashes) for one in waiting} == {(0, 0, 0)}


def test_forgotten_scripts_between_them_cost_nothing(
    redis_url: str, redis_client: redis.Redis
) -> None:
    with Queue(QUEUE, redis=redis_url) as queue:
        queue.add_bulk(NewJob("echo") for _ in range(JOBS))

    async def flushed() -> None:
        worker, flushes = Watched(redis_url), 0
        working = asyncio.create_task(emptied(worker))
        while not working.done():
            await asyncio.sleep(0.002)
            if flushes < CUTS and worker.taken_late > 4 * flushes:
                flushes += 1
                redis_client.script_flush()
        await working

    asyncio.run(flushed())

    counts, ran = starts(redis_url)
    assert counts["completed"] == JOBS
    assert ran == {(1, 0, 0)}
