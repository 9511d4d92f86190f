"""How long from just before `add` to the processor's first line, at a hundred jobs a second?

Against BullMQ's sandboxed processors with as many children; the same blocking producer of toril's
for both. The producer writes the time (CLOCK_REALTIME of this host) into the job's data, the
processor returns it: nobody watches the queue meanwhile.
"""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING

import redis

from benchmarks.contestants import QUEUE, bullmq_sandboxed, completed, present, toril
from benchmarks.harness import Side, compare, options, server
from benchmarks.processes import Processes
from toril import Queue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.contestants import Contestant

CHILDREN = 2
PER_SECOND = 100
SECONDS = 10
WARM_UP_JOBS = 100
TIMEOUT_S = 30.0


def main() -> None:
    given = options(__doc__)
    jobs = 20 if given.smoke else PER_SECOND * SECONDS
    both = [toril(CHILDREN, processor="started"), bullmq_sandboxed(CHILDREN, "started.cjs")]
    with server() as url:
        sides = [
            Side(one.name, lambda one=one: quantiles(waits_ms(url, one, jobs)))
            for one in present(both, given)
        ]
        title = f"From `add` to the processor, {PER_SECOND} jobs/s"
        compare(title, "ms", sides, given, over=sides[0].name)


def waits_ms(url: str, worker: Contestant, jobs: int) -> list[float]:
    """Of each job that comes at its time, the worker being warm."""
    with redis.Redis.from_url(url) as client, Queue(QUEUE, redis=url) as queue:
        client.flushall()
        with Processes(list(worker.started_with(url)), worker.cwd) as processes:
            send(queue, WARM_UP_JOBS)
            await_completed(client, processes, WARM_UP_JOBS)
            send(queue, jobs)
            await_completed(client, processes, WARM_UP_JOBS + jobs)
        with client.pipeline(transaction=False) as pipe:
            for number in range(WARM_UP_JOBS + 1, WARM_UP_JOBS + jobs + 1):
                pipe.hmget(f"bull:{QUEUE}:{number}", "data", "returnvalue")
            return [float(end) - json.loads(data)["sent_ms"] for data, end in pipe.execute()]


def send(queue: Queue, jobs: int) -> None:
    """One every hundredth of a second, each at its own time whatever the last one took."""
    began = time.monotonic()
    for number in range(jobs):
        time.sleep(max(began + number / PER_SECOND - time.monotonic(), 0))
        queue.add("stamped", {"sent_ms": time.time() * 1000})


def await_completed(client: redis.Redis, processes: Processes, jobs: int) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while (found := completed(client, jobs)) < jobs:
        processes.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"{found} of {jobs} jobs completed: {processes.said()}")
        time.sleep(0.05)


def quantiles(waits: Sequence[float]) -> dict[str, float]:
    """The nearest-rank quantiles: a wait that one of the jobs had."""
    found = sorted(waits)
    return {
        f"p{percent} ms": found[math.ceil(len(found) * percent / 100) - 1] for percent in (50, 99)
    }


if __name__ == "__main__":
    main()
