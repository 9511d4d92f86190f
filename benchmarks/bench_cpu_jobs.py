"""How much does toril add to CPU-bound jobs? Jobs of 50 ms of CPU, wall time ÷ ideal.

Against `multiprocessing.Pool` with as many processes: no queue, no locks, no records. Both are
timed from the first job's start to the last one's end, with processes that are warm. The pool's
step back as toril's children do, so that whatever else runs takes as much from both.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time

from benchmarks.harness import Side, compare, options, server, work_off
from benchmarks.processors import burn_ms
from toril import NewJob, Queue

CHILDREN = 2
JOB_MS = 50
NICE = 5
"""Of the pool's processes; given: the default of `ZygoteSpec.nice`."""


def main() -> None:
    given = options(__doc__)
    jobs = 10 if given.smoke else 200
    ideal_s = jobs * JOB_MS / 1000 / CHILDREN
    numbers = itertools.count()

    with server() as url:

        def toril() -> float:
            name = f"burn-{next(numbers)}"
            with Queue(name, redis=url) as queue:
                queue.add_bulk(NewJob("burn") for _ in range(jobs))
            return work_off(url, name, "benchmarks.processors:burn", CHILDREN, jobs) / ideal_s

        def pool() -> float:
            spawn = multiprocessing.get_context("spawn")
            with spawn.Pool(CHILDREN, os.nice, (NICE,)) as workers:
                workers.map(burn_ms, [1] * CHILDREN)
                began = time.perf_counter()
                workers.map(burn_ms, [JOB_MS] * jobs, chunksize=1)
                return (time.perf_counter() - began) / ideal_s

        sides = [Side("toril, 2 children", toril), Side("multiprocessing.Pool(2)", pool)]
        compare(f"{jobs} jobs of {JOB_MS} ms CPU, wall ÷ ideal", "x ideal", sides, given)


if __name__ == "__main__":
    main()
