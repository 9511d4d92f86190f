"""What every benchmark shares: its options, fair turns, one way to print and to keep results.

A benchmark runs things in turn (A B A B …) on one machine, counts the work that it timed, and
prints each side's median, the median of the ratios within a turn, and their spread.
Servers are in `servers.py`, the peers in `contestants.py`, what is timed in `draining.py`.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import redis

from benchmarks import machine, results
from benchmarks.machine import ROOT
from benchmarks.results import Table
from benchmarks.servers import server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["ROOT", "Given", "Side", "compare", "options", "server", "span_s", "work_off"]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the things compared.

    Args:
        name: as it is printed.
        run: does the work once; its figure, or several by measure, the question's own first.
        about: a word on it, kept with the figures.
    """

    name: str
    run: Callable[[], float | Mapping[str, float]]
    about: str = ""


class Given:
    """What the command line asked for, and where this run's tables are kept."""

    def __init__(self, question: str, asked: argparse.Namespace) -> None:
        self.smoke: bool = asked.smoke
        self.runs: int = 1 if asked.smoke else asked.runs
        self._question = question
        self._path: Path | None = asked.json
        self._tables: list[Table] = []
        self._setting: dict[str, Any] | None = None

    def keep(self, table: Table) -> None:
        """Print a table and add it to the results file, if one was asked for."""
        if self._setting is None:
            self._setting = machine.setting()
            sys.stdout.write(f"{self._question}\n{machine.words(self._setting)}\n")
        self._tables.append(table)
        sys.stdout.write("\n".join(table.lines()) + "\n")
        sys.stdout.flush()
        if self._path is not None:
            results.save(self._path, self._question, self._setting, self._tables)


def options(description: str | None) -> Given:
    """`--smoke` (tiny, only proves that it runs), `--runs N` and `--json FILE`.

    From here on SIGTERM ends the benchmark as Ctrl-C does: with all that it started.
    """
    question = (description or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--smoke", action="store_true", help="tiny; proves that it still runs")
    parser.add_argument("--runs", type=int, default=5, help="turns of each side (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there")
    asked = parser.parse_args()
    if asked.runs < 1:
        parser.error(f"--runs is {asked.runs}, expected at least 1")
    signal.signal(signal.SIGTERM, _end)
    return Given(question, asked)


def compare(
    title: str, unit: str, sides: Sequence[Side], given: Given, *, over: str | None = None
) -> Table:
    """Run the sides in turn, then print and keep what they found.

    Args:
        title: what is compared.
        unit: of the figures of sides that give a single one.
        sides: in the order of a turn.
        given: the options.
        over: the side whose figures are divided by the others'; default: others ÷ the last.
    """
    figures: dict[str, dict[str, list[float]]] = {}
    for turn in range(1, given.runs + 1):
        for side in sides:
            _show(f"{title}: turn {turn} of {given.runs}, {side.name}")
            found = side.run()
            by_measure = {unit: found} if isinstance(found, float | int) else found
            for measure, figure in by_measure.items():
                figures.setdefault(measure, {}).setdefault(side.name, []).append(figure)
    _show("")
    about = {side.name: side.about for side in sides if side.about}
    table = Table(title, over or sides[-1].name, over is not None, figures, about)
    given.keep(table)
    return table


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


def _show(progress: str) -> None:
    """On one line that is written over, for a person who waits."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{progress}\r")


def _end(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)
