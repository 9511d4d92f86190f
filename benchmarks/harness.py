"""What the benchmarks share: a private server, a toril worker, fair turns, one way to print.

A benchmark runs two things in turn (A B A B …) in one process tree on one machine, counts the work
that it timed, and prints each side's median, the median of the ratios and their spread.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from toril import __version__
from toril.runtime.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the things compared: `run()` does the work once and returns the figure."""

    name: str
    run: Callable[[], float]


def options(description: str | None) -> argparse.Namespace:
    """`--smoke` (tiny, only proves that it runs) and `--runs N`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--smoke", action="store_true", help="tiny; proves that it still runs")
    parser.add_argument("--runs", type=int, default=5, help="turns of each side (default: 5)")
    found = parser.parse_args()
    if found.smoke:
        found.runs = 1
    return found


@contextmanager
def server() -> Iterator[str]:
    """A private server, empty; its URL."""
    with tempfile.TemporaryDirectory(prefix="toril-bench-") as directory:
        private = EmbeddedServer(Path(directory))
        try:
            yield private.start()
        finally:
            private.stop()


def work_off(url: str, queue: str, processor: str, children: int, jobs: int) -> float:
    """Let one `toril run` empty a queue: seconds from first start to last end, by Redis' clock."""
    command = [sys.executable, "-m", "toril", "run", "--queue", queue, "--processor", processor]
    command += ["--redis", url, "--concurrency", str(children), "--until-empty"]
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode()[-2000:])
    return span_s(url, queue, jobs)


def span_s(url: str, queue: str, jobs: int) -> float:
    """Seconds from the first job's start to the last one's end; all of them must be completed."""
    base = f"bull:{queue}:"
    with redis.Redis.from_url(url) as client:
        ended = client.zrange(base + "completed", 0, -1, withscores=True)
        if len(ended) != jobs:
            raise RuntimeError(f"{len(ended)} of {jobs} jobs completed")
        with client.pipeline(transaction=False) as pipe:
            for job_id, _ in ended:
                pipe.hget(base + job_id.decode(), "processedOn")
            started = [int(value) for value in pipe.execute()]
    return (max(score for _, score in ended) - min(started)) / 1000


def compare(title: str, unit: str, sides: Sequence[Side], runs: int) -> None:
    """Run the sides in turn and print figures, ratios to the last side, and the machine."""
    figures: dict[str, list[float]] = {side.name: [] for side in sides}
    for _ in range(runs):
        for side in sides:
            figures[side.name].append(side.run())
    sys.stdout.write(f"{title}\n  {machine()}\n")
    peer = figures[sides[-1].name]
    for name, values in figures.items():
        ratios = [value / other for value, other in zip(values, peer, strict=True)]
        sys.stdout.write(
            f"  {name:<34} {statistics.median(values):>10.3f} {unit:<8} "
            f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})\n"
        )
    sys.stdout.write(f"  ratios are to `{sides[-1].name}`, median of {runs} turns\n")


def machine() -> str:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    return (
        f"toril {__version__}, Python {platform.python_version()} ({sys.executable}), "
        f"{os.cpu_count()} cores {model}, Linux {platform.release()}"
    )
