"""How late is the supervisor's loop, which renews every lock, under full load of large results?

The 99th percentile of lateness by time, with two children that return 1 MiB of JSON as fast as they
can, through the real command. Beside it, in turn: jobs that return nothing, results of 16 MiB, for
which the limit has to be raised, and jobs that print 16 MiB. There is no peer; the ratios are to
the jobs that return nothing.
"""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import ROOT, Side, compare, options, server, span_s
from toril import NewJob, Queue

if TYPE_CHECKING:
    from collections.abc import Callable

CHILDREN = 2
LOADS = (
    ("results of 1 MiB", "large", 1, 400),
    ("results of 16 MiB", "large", 16, 12),
    ("16 MiB printed", "chatter", 16, 12),
    ("nothing returned", "noop", 0, 6000),
)
"""What is done, by which processor, how many MiB at a time, and how often."""

PERCENTILE = 99


def main() -> None:
    given = options(__doc__)
    numbers = itertools.count()
    with server() as url, tempfile.TemporaryDirectory(prefix="toril-lag-") as place:

        def load(processor: str, mib: int, jobs: int) -> Callable[[], float]:
            def run() -> float:
                name = f"lag-{next(numbers)}"
                with Queue(name, redis=url) as queue:
                    queue.add_bulk(NewJob(processor, {"mib": mib}) for _ in range(jobs))
                late_ms = _lateness(url, name, processor, mib, Path(place))
                span_s(url, name, jobs)
                with Queue(name, redis=url) as queue:
                    queue.obliterate()
                return statistics.quantiles(late_ms, n=100)[PERCENTILE - 1]

            return run

        sides = [
            Side(title, load(processor, mib, max(6, jobs // 50) if given.smoke else jobs))
            for title, processor, mib, jobs in LOADS
        ]
        title = f"lateness of the loop, {PERCENTILE}th percentile, {CHILDREN} children"
        compare(title, "ms", sides, given)


def _lateness(url: str, queue: str, processor: str, mib: int, place: Path) -> list[float]:
    """Let the command empty a queue; how late its loop was, each millisecond."""
    found = place / "late"
    command = [sys.executable, "-m", "benchmarks.metered", str(found), "run", "--queue", queue]
    command += ["--processor", f"benchmarks.processors:{processor}", "--redis", url]
    command += ["--concurrency", str(CHILDREN), "--health", f"unix:{place}/health", "--until-empty"]
    command += ["--result-size", f"{mib + 1}MiB"]
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode()[-2000:])
    return [float(one) for one in found.read_text().split()]


if __name__ == "__main__":
    main()
