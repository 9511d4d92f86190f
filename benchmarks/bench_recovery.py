"""How long from `kill -9` of the process that runs a job until the job runs again in another?

By the clock of the machine, which the job writes down as it starts. toril's child, with the wait of
1 s that its rule for crashes prescribes, and toril's zygote, whose loss is no fault of the job and
has no wait; RQ's work horse with `Retry`, which has no wait either; BullMQ's sandboxed child with a
second attempt; and BullMQ's inline worker, with another beside it that finds the job stalled: with
BullMQ's defaults, which is up to a minute for a turn. The ratios are to that one.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contestants import is_there
from benchmarks.harness import ROOT, Side, compare, options, server
from toril import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PEERS = ROOT / "benchmarks" / "peers"
PEERS_PYTHON = PEERS / ".venv" / "bin" / "python"

SMOKE_STALLED_MS = 1000
_LONGEST_S = 120.0
_LOOK_S = 0.0005


class Bench:
    """One server, a new queue and a new file each time."""

    def __init__(self, url: str, place: str, *, is_smoke: bool) -> None:
        self._url = url
        self._socket = url.removeprefix("unix://").partition("?")[0]
        self._place = Path(place)
        self._numbers = itertools.count()
        self._stalled_ms = SMOKE_STALLED_MS if is_smoke else 0

    def toril(self, *, is_zygote: bool) -> float:
        """Its child is killed, or the process that forked it."""
        name, path = self._fresh()
        command = [sys.executable, "-m", "toril", "run", "--queue", name, "--concurrency", "2"]
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

    def bullmq(self, kind: str) -> float:
        """Its child is killed, or its worker with another beside it."""
        name, path = self._fresh()
        work = ["node", "recovery_bullmq.mjs", self._socket, name, kind, str(self._stalled_ms)]
        with ExitStack() as workers:
            workers.enter_context(_running(work, PEERS))
            self._add(name, path)
            _starts(path, 1)
            if kind == "inline":
                workers.enter_context(_running(work, PEERS))
            return _recovery_s(path, int)

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
        bench = Bench(url, place, is_smoke=given.smoke)
        sides = [
            Side("toril, child", lambda: bench.toril(is_zygote=False)),
            Side("toril, zygote", lambda: bench.toril(is_zygote=True)),
        ]
        if is_there(PEERS_PYTHON, given):
            sides.append(Side("RQ, work horse, Retry", bench.rq))
        if is_there(PEERS / "node_modules" / "bullmq", given):
            sides.append(Side("BullMQ sandboxed, child", lambda: bench.bullmq("sandboxed")))
            sides.append(Side("BullMQ inline, worker", lambda: bench.bullmq("inline")))
        compare("kill -9 until the job runs again", "s", sides, given)


def _recovery_s(path: Path, victim: Callable[[str], int]) -> float:
    (first,) = _starts(path, 1)
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
        command, cwd=cwd, env=env, stderr=subprocess.DEVNULL, start_new_session=True
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
