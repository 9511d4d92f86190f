"""How does toril scale with children, supervisors and data, and what is the limit?

Jobs that wait (0, 1, 10, 100 ms, no CPU) on 1 to 8 children; 1 to 4 supervisors with two children
each on one queue; no-op jobs with 100 bytes to 1 MB of data. How it scales with the number of
waiting jobs is in `bench_server_cost.py`. The limit is told from CPU shares: `limits.py`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.contestants import toril
from benchmarks.draining import drain
from benchmarks.harness import Side, compare, options, server
from benchmarks.limits import SHARES, limit_of

if TYPE_CHECKING:
    from benchmarks.contestants import Contestant
    from benchmarks.results import Table

LENGTHS_MS = (0, 1, 10, 100)
CHILDREN = (1, 2, 4, 8)
SUPERVISORS = (1, 2, 4)
PAYLOADS = {"100 B": 100, "10 kB": 10_000, "1 MB": 1_000_000}
PAYLOAD_JOBS = {"100 B": 20_000, "10 kB": 10_000, "1 MB": 300}

TURN_S = 2.0
FASTEST_PER_S = 10_000
"""Chosen: about what two cores do; a turn at this rate is as long as one with long jobs."""


@dataclass(frozen=True, slots=True)
class Corner:
    """One row.

    Args:
        name: as it is printed.
        worker: what is measured.
        jobs: as many as a turn takes.
        children: of all supervisors together.
        ms: how long each job waits.
    """

    name: str
    worker: Contestant
    jobs: int
    children: int = 2
    ms: int = 0

    def shares(self, url: str, jobs: int) -> dict[str, float]:
        """The rate, and how much of each thing that can be used up was used."""
        window = drain(url, self.worker, jobs)
        rate = window.jobs / window.seconds
        cpu_s = window.server_s + window.leader_s + window.others_s + window.elsewhere_s
        found = (
            rate * self.ms / 1000 / self.children,
            window.server_s / window.seconds,
            window.leader_s / window.seconds / len(self.worker.commands),
            cpu_s / window.seconds / (os.cpu_count() or 1),
        )
        return {
            "jobs/s": rate,
            **dict(zip(SHARES, found, strict=True)),
            "children's cores": window.others_s / window.seconds,
            "foreign cores": window.elsewhere_s / window.seconds,
        }


def main() -> None:
    given = options(__doc__)
    tables = {
        "Children by length of a job": [
            napping(many, ms) for ms in LENGTHS_MS for many in CHILDREN
        ],
        "Supervisors on one queue": [supervised(many) for many in SUPERVISORS],
        "Data of a job, two children": [loaded(name) for name in PAYLOADS],
    }
    scale = 100 if given.smoke else 1
    with server() as url:
        for title, corners in tables.items():
            sides = [
                Side(one.name, lambda one=one: one.shares(url, max(one.jobs // scale, 10)))
                for one in (corners[:: len(corners) - 1] if given.smoke else corners)
            ]
            tell(compare(title, "jobs/s", sides, given))


def napping(children: int, ms: int) -> Corner:
    """So many children, jobs of so many milliseconds."""
    name = f"{children} {'child' if children == 1 else 'children'}, {ms} ms"
    if ms == 0:
        return Corner(name, toril(children), int(TURN_S * FASTEST_PER_S), children)
    worker = replace(toril(children, processor="nap"), data={"ms": ms})
    per_s = min(FASTEST_PER_S, children * 1000 / ms)
    return Corner(name, worker, int(TURN_S * per_s), children, ms)


def supervised(many: int) -> Corner:
    """So many supervisors with two children each."""
    name = f"{many} supervisor{'s' * (many > 1)} of 2 children"
    return Corner(name, toril(2, supervisors=many), int(TURN_S * FASTEST_PER_S), many * 2)


def loaded(size: str) -> Corner:
    """Jobs whose data is a text of so many bytes."""
    worker = replace(toril(2), data={"text": "x" * PAYLOADS[size]})
    return Corner(f"{size} of data", worker, PAYLOAD_JOBS[size])


def tell(table: Table) -> None:
    """Name what bounds each row."""
    for side in table.figures["jobs/s"]:
        medians = {one: table.spread(one, side).median for one in SHARES}
        sys.stdout.write(f"  limit of {side:<27} {limit_of(medians)}\n")


if __name__ == "__main__":
    main()
