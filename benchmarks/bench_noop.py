"""How many jobs that do nothing go through two children a second, and at what cost?

Against every peer at two processes, and against BullMQ's sandboxed processors at four. `README.md`
says how each is configured, `draining.py` what is timed. Needs the peers: `make bench-peers`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.contestants import (
    bullmq_inline,
    bullmq_python,
    bullmq_sandboxed,
    celery,
    dramatiq,
    huey,
    present,
    rq,
    toril,
)
from benchmarks.draining import drain
from benchmarks.harness import Side, compare, options, server

if TYPE_CHECKING:
    from benchmarks.contestants import Contestant

LOGGING = replace(toril(2, log="info"), name="toril, 2 children, a log line a job")
AT_TWO = (
    toril(2),
    LOGGING,
    bullmq_inline(50),
    bullmq_sandboxed(2),
    bullmq_python(2),
    dramatiq(2, 1),
    dramatiq(2, 8),
    huey(2),
    celery(2),
    rq(2, "SimpleWorker"),
    rq(2, "Worker"),
)
AT_FOUR = (toril(4), bullmq_sandboxed(4))


def main() -> None:
    given = options(__doc__)
    rows = {"No-op jobs, two at a time": AT_TWO, "No-op jobs, four at a time": AT_FOUR}
    with server() as url:

        def side(one: Contestant) -> Side:
            jobs = max(one.turn_jobs // 100, 40) if given.smoke else one.turn_jobs
            return Side(one.name, lambda: drain(url, one, jobs).figures(), one.isolation)

        for title, contestants in rows.items():
            sides = [side(one) for one in present(contestants, given)]
            compare(title, "jobs/s", sides, given, over=contestants[0].name)


if __name__ == "__main__":
    main()
