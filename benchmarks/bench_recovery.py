"""How long from `kill -9` of the process that runs a job until the job runs again in another?

By the clock of the machine, which the job writes down as it starts. Every worker works one job at
a time, as it comes. toril's child: a first crash has no wait. toril's zygote: nearly all of it is
the start of another. RQ's work horse with `Retry` and BullMQ's sandboxed child with a second
attempt, neither of which waits. And BullMQ's inline worker, with another beside it
that finds the job stalled, by BullMQ's defaults: it looks every 30 s and takes what it has seen
twice, so that it depends on when the kill falls between two looks; the turns are spread evenly over
that. The ratios are to this last one, the only one here whose worker dies and not a child of it:
who compares isolation looks at the other two.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contestants import is_there
from benchmarks.harness import ROOT, Side, compare, options, server
from toril import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

PEERS = ROOT / "benchmarks" / "peers"
PEERS_PYTHON = PEERS / ".venv" / "bin" / "python"

SMOKE_STALLED_MS = 1000
STALLED_MS = 30_000
"""BullMQ's default for `stalledInterval`, and for `lockDuration`."""

_LONGEST_S = 120.0
_LOOK_S = 0.0005


class Bench:
    """One server, a new queue and a new file each time."""

    def __init__(self, url: str, place: str, *, runs: int, is_smoke: bool) -> None:
        self._url = url
        self._socket = url.removeprefix("unix://").partition("?")[0]
        self._place = Path(place)
        self._numbers = itertools.count()
        self._stalled_ms = SMOKE_STALLED_MS if is_smoke else STALLED_MS
        self._moments = itertools.cycle((turn + 0.5) / runs for turn in range(runs))

    def toril(self, *, is_zygote: bool) -> float:
        """Its child is killed, or the process that forked it."""
        name, path = self._fresh()
        command = [sys.executable, "-m", "toril", "run", "--queue", name, "--concurrency", "1"]
        command += ["--processor", "benchmarks.processors:hang_once", "--redis", self._url]
        command += ["--allow-write", str(path.parent)]
        with _running(command, ROOT):
            self._add(name, path)
            return _recovery_s(path, _parent_of if is_zygote else int)

    def rq(self) -> float:
        """Its work horse is killed, and the job has a Retry."""
        _, path = self._fresh()
        env = os.environ | {"BENCH_REDIS": self._url}
        work = [str(PEERS_PYTHON), "-m", "rq.cli", "worker", "--url", self._url, "--quiet"]
        with _running(work, PEERS, env):
            add = [str(PEERS_PYTHON), "recovery_rq.py", str(path)]
            subprocess.run(add, cwd=PEERS, env=env, check=True)
            return _recovery_s(path, int)

    def bullmq_child(self) -> float:
        """Its sandboxed child is killed, and the job has a second attempt."""
        name, path = self._fresh()
        with self._bullmq(name, "sandboxed"):
            self._add(name, path)
            return _recovery_s(path, int)

    def bullmq_worker(self) -> float:
        """Its inline worker is killed, with another beside it, at the turn's moment."""
        name, path = self._fresh()
        with self._bullmq(name, "inline"), self._bullmq(name, "inline"):
            self._add(name, path)
            wait_s = next(self._moments) * self._stalled_ms / 1000
            return _recovery_s(path, int, wait_s=wait_s)

    def _bullmq(self, name: str, kind: str) -> AbstractContextManager[None]:
        work = ["node", "recovery_bullmq.mjs", self._socket, name, kind, str(self._stalled_ms)]
        return _running(work, PEERS)

    def _fresh(self) -> tuple[str, Path]:
        name = f"recovery-{next(self._numbers)}"
        place = self._place / name
        place.mkdir()
        place.chmod(0o777)
        path = place / "starts"
        path.touch()
        path.chmod(0o666)
        return name, path

    def _add(self, name: str, path: Path) -> None:
        with Queue(name, redis=self._url) as queue:
            queue.add("hang", {"path": str(path)}, attempts=2)


def main() -> None:
    given = options(__doc__)
    with server() as url, tempfile.TemporaryDirectory(prefix="toril-recovery-") as place:
        Path(place).chmod(0o755)
        bench = Bench(url, place, runs=given.runs, is_smoke=given.smoke)
        sides = [
            Side("toril, child", lambda: bench.toril(is_zygote=False)),
            Side("toril, zygote", lambda: bench.toril(is_zygote=True)),
        ]
        if is_there(PEERS_PYTHON, given):
            sides.append(Side("RQ, work horse, Retry", bench.rq))
        if is_there(PEERS / "node_modules" / "bullmq", given):
            sides.append(Side("BullMQ sandboxed, child", bench.bullmq_child))
            sides.append(Side("BullMQ inline, worker", bench.bullmq_worker))
        compare("kill -9 until the job runs again", "s", sides, given)


def _recovery_s(path: Path, victim: Callable[[str], int], *, wait_s: float = 0) -> float:
    (first,) = _starts(path, 1)
    time.sleep(wait_s)
    killed_ns = time.monotonic_ns()
    os.kill(victim(first.split()[0]), signal.SIGKILL)
    again = _starts(path, 2)[1]
    return (int(again.split()[1]) - killed_ns) / 1e9


def _starts(path: Path, count: int) -> list[str]:
    """The first so many starts, once they are there."""
    until_s = time.monotonic() + _LONGEST_S
    while time.monotonic() < until_s:
        lines = path.read_text().splitlines(keepends=True)
        if len(lines) >= count and lines[count - 1].endswith("\n"):
            return lines[:count]
        time.sleep(_LOOK_S)
    raise RuntimeError(f"the job did not start for the {count}. time in {_LONGEST_S:g} s")


def _parent_of(pid: str) -> int:
    """Source: proc_pid_stat(5)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@contextmanager
def _running(
    command: Sequence[str], cwd: Path, env: dict[str, str] | None = None
) -> Iterator[None]:
    """A worker, and the end of it and of what it started."""
    worker = subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        worker.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                worker.wait(10)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


if __name__ == "__main__":
    main()
