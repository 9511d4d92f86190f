"""Processes that a benchmark starts: what they said, what CPU they used, and their certain end.

Whatever happens to the benchmark, an interrupt included, nothing that it started stays behind.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_STOP_TIMEOUT_S = 15.0
"""Chosen: a warm shutdown takes the slowest peer three seconds."""

_TAIL_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds of process trees, ended descendants included.

    Args:
        leaders_s: of the processes that were started: a worker's parent process.
        others_s: of everything below them.
    """

    leaders_s: float
    others_s: float


class Processes:
    """Commands run side by side; a context manager, which ends them and all that they started.

    Args:
        commands: one list of words each.
        cwd: where they run.
        env: in addition to this process's own.
    """

    def __init__(
        self, commands: Sequence[Sequence[str]], cwd: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self._commands = commands
        self._cwd = cwd
        self._env = {**os.environ, **(env or {})}
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in __exit__
        self._leaders: list[psutil.Popen] = []

    def __enter__(self) -> Self:
        try:
            for command in self._commands:
                self._leaders.append(self._start(command))
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.end()

    def _start(self, command: Sequence[str]) -> psutil.Popen:
        return psutil.Popen(
            tied(command),
            cwd=self._cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def said(self) -> str:
        """The end of what they wrote."""
        self._log.flush()
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(
            self._log.fileno(), _TAIL_CHARACTERS, max(size - _TAIL_CHARACTERS, 0)
        ).decode(errors="replace")

    def wrote(self, *words: str) -> bool:
        """Whether any of the words is in what they wrote."""
        size = os.fstat(self._log.fileno()).st_size
        text = os.pread(self._log.fileno(), size, 0).decode(errors="replace")
        return any(word in text for word in words)

    def check(self) -> None:
        """Raise RuntimeError if one has ended."""
        for leader in self._leaders:
            if leader.poll() is not None:
                raise RuntimeError(
                    f"{leader.args[-1]} ended with {leader.returncode}: {self.said()}"
                )

    def usage(self) -> Usage:
        """CPU used so far."""
        leaders_s = others_s = 0.0
        for leader in self._leaders:
            for process in _tree(leader):
                try:
                    times = process.cpu_times()
                except psutil.Error:
                    continue
                own_s = times.user + times.system
                leaders_s += own_s if process.pid == leader.pid else 0.0
                others_s += own_s if process.pid != leader.pid else 0.0
                others_s += times.children_user + times.children_system
        return Usage(leaders_s, others_s)

    def end(self) -> None:
        """SIGTERM to each, time to stop, then SIGKILL to all that is left of their trees."""
        trees = [process for leader in self._leaders for process in _tree(leader)]
        for leader in self._leaders:
            if leader.poll() is None:
                leader.terminate()
        _, late = psutil.wait_procs(trees, timeout=_STOP_TIMEOUT_S)
        late += [process for leader in self._leaders for process in _session(leader.pid)]
        for process in late:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(late, timeout=_STOP_TIMEOUT_S)
        self._leaders = []
        self._log.close()


def tied(command: Sequence[str]) -> list[str]:
    """The command, told to end by the kernel when the thread that starts it does.

    So a benchmark that is killed outright takes its servers and workers along as well.
    """
    return ["setpriv", "--pdeathsig", "TERM", *command]


def _session(leader: int) -> list[psutil.Process]:
    """What is left of its session: children of a leader that has died, or that it started late."""
    found = []
    for process in psutil.process_iter():
        with suppress(OSError):
            if os.getsid(process.pid) == leader:
                found.append(process)
    return found


def _tree(leader: psutil.Popen) -> list[psutil.Process]:
    try:
        return [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
