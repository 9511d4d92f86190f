"""What does a claimed and a settled job cost the server, by batch size?

CPU time of the server process (`INFO cpu`) per job that does nothing: one call claims a batch, the
next exchange ends it and claims another. No child, no job code; the ratios are to batches of 1.
"""

from __future__ import annotations

import asyncio
import itertools
import sys

import redis

from benchmarks.harness import Side, compare, options
from tests.support.servers import KINDS, RedisServer, found_version
from toril import NewJob, Queue
from toril.call import Outcome, Usage, Verdict
from toril.runtime.claim import Claimed, ClaimRequest
from toril.runtime.retry import Complete
from toril.runtime.store import Ending, Store

BATCHES = (64, 16, 4, 1)
LOCK_MS = 30_000
RETURNED = Outcome(Verdict.RETURNED, detail={"pid": 4711}, usage=Usage(1, 1, 0, 12_000_000))


def cpu_us(client: redis.Redis) -> float:
    """CPU time of the server so far."""
    found = client.info("cpu")
    return float(found["used_cpu_user"] + found["used_cpu_sys"]) * 1e6


async def work_off(store: Store, batch: int) -> int:
    """Claim and complete all jobs of a queue; how many."""
    done, endings = 0, []
    while True:
        answer = await store.exchange((), endings, ClaimRequest(batch, LOCK_MS))
        done += sum(result == "done" for result in answer.endings)
        claims = answer.claimed.claims if isinstance(answer.claimed, Claimed) else ()
        endings = [Ending(claim, Complete(), RETURNED) for claim in claims]
        if not endings:
            return done


async def spent_us(url: str, queue: str, batch: int, jobs: int) -> float:
    """CPU time of the server while the queue is worked off, its scripts loaded before."""
    store = Store(url, "bull", queue, worker_name="bench")
    await store.open()
    try:
        with redis.Redis.from_url(url) as client:
            before_us = cpu_us(client)
            done = await work_off(store, batch)
            spent = cpu_us(client) - before_us
            client.flushall()
    finally:
        await store.close()
    if done != jobs:
        raise RuntimeError(f"{done} of {jobs} jobs completed")
    return spent


def measured(url: str, queue: str, batch: int, jobs: int) -> float:
    """Microseconds of the server's CPU time per job."""
    with Queue(queue, redis=url) as producer:
        producer.add_bulk(NewJob("noop") for _ in range(jobs))
    return asyncio.run(spent_us(url, queue, batch, jobs)) / jobs


def main() -> None:
    given = options(__doc__)
    jobs = 200 if given.smoke else 20_000
    numbers = itertools.count()
    for kind in KINDS:
        if found_version(kind) == "missing":
            sys.stdout.write(f"{kind} is not installed\n")
            continue
        with RedisServer(kind) as server:
            compare(
                f"{jobs} no-op jobs claimed and completed, {kind} {found_version(kind)}",
                "us/job",
                [
                    Side(
                        f"batches of {batch}",
                        lambda batch=batch: measured(server.url, f"q{next(numbers)}", batch, jobs),
                    )
                    for batch in BATCHES
                ],
                given,
            )


if __name__ == "__main__":
    main()
