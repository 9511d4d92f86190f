"""How many jobs that do nothing go through two children a second?

Against BullMQ's own sandboxed processors with two children, on the same server; needs Node and
`npm ci` in tests/interop, without which toril's figure stands alone.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess

from benchmarks.harness import ROOT, Side, compare, options, server, span_s, work_off
from toril import NewJob, Queue

CHILDREN = 2
MODULES = ROOT / "tests" / "interop" / "node_modules"


def main() -> None:
    given = options(__doc__)
    jobs = 200 if given.smoke else 10_000
    numbers = itertools.count()
    with server() as url:

        def filled() -> str:
            name = f"noop-{next(numbers)}"
            with Queue(name, redis=url) as queue:
                queue.add_bulk(NewJob("noop") for _ in range(jobs))
            return name

        def toril() -> float:
            processor = "benchmarks.processors:noop"
            return jobs / work_off(url, filled(), processor, CHILDREN, jobs)

        def bullmq() -> float:
            name = filled()
            socket = url.removeprefix("unix://").partition("?")[0]
            script = ROOT / "benchmarks" / "node" / "sandboxed.cjs"
            subprocess.run(
                ["node", str(script), socket, name, str(CHILDREN)],
                env={**os.environ, "NODE_PATH": str(MODULES)},
                check=True,
            )
            return jobs / span_s(url, name, jobs)

        sides = [Side("toril, 2 children", toril)]
        if shutil.which("node") and (MODULES / "bullmq").exists():
            sides.append(Side("BullMQ sandboxed, 2 children", bullmq))
        compare(f"{jobs} no-op jobs", "jobs/s", sides, given)


if __name__ == "__main__":
    main()
