"""What CPU does one job cost the server, and does it matter how many are waiting?

By `INFO cpu`, no-op jobs: two children against BullMQ inline, which claims and settles with one
script call a job; then toril against itself, with so many jobs still waiting at the end.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import redis

from benchmarks.contestants import QUEUE, bullmq_inline, completed, present, toril
from benchmarks.draining import drain, watch
from benchmarks.harness import Side, compare, options, server
from toril import Queue

if TYPE_CHECKING:
    from benchmarks.draining import Window

MEASURES = ("server µs/job", "jobs/s", "worker µs/job", "foreign cores")


def main() -> None:
    given = options(__doc__)
    scale = 100 if given.smoke else 1
    with server() as url:
        sides = [
            Side(one.name, lambda one=one: figures(drain(url, one, one.turn_jobs // scale)))
            for one in present([toril(2), bullmq_inline(50)], given)
        ]
        compare("CPU of the server for a no-op job", "µs", sides, given, over=sides[0].name)

    jobs = 20_000 // scale
    backlogs = [count // scale for count in (1_000_000, 100_000, 1_000)]
    with ExitStack() as servers:
        sides = []
        for waiting in backlogs:
            url = servers.enter_context(server())
            toril(2).add(url, waiting)
            name = f"{waiting:,} waiting"
            sides.append(Side(name, lambda url=url: figures(amid(url, jobs))))
        compare("The same with a backlog", "µs", sides, given)


def amid(url: str, jobs: int) -> Window:
    """Complete so many of the jobs that are there; as many wait afterwards as before."""
    worker = toril(2)
    worker.add(url, jobs)
    window = watch(url, worker, jobs, jobs // 5, jobs)
    with redis.Redis.from_url(url) as client, Queue(QUEUE, redis=url) as queue:
        while completed(client, jobs):
            queue.clean("0s")
    return window


def figures(window: Window) -> dict[str, float]:
    """The server's share first: it is the question."""
    found = window.figures()
    return {measure: found[measure] for measure in MEASURES}


if __name__ == "__main__":
    main()
