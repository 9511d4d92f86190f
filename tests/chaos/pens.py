"""The stage of a chaos run: one server, supervisors behind a proxy each, and perhaps Node workers.

Everything here ends with the run: servers, supervisors and proxies are closed in any case.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import psutil

from tests.chaos.ledger import note, start_ticks
from tests.chaos.node_pen import NodePen
from tests.support.fault_proxy import FaultProxy
from tests.support.servers import RedisServer
from tests.support.toril import UNWALLED, TorilRun

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

QUEUE = "chaos"
EXIT_S = 40.0


@dataclass(frozen=True)
class Terms:
    """What the queue is worked with.

    Attributes:
        lock_ms: how long a lock holds.
        sweep_ms: between looks for stalled jobs.
        concurrency: children of each supervisor.
        tokens_per_s: of the rate limit; None for no limit.
        burst: of the rate limit.
        max_crashes: of one job.
        timeout_ms: of one attempt.
    """

    lock_ms: int = 1500
    sweep_ms: int = 500
    concurrency: int = 3
    tokens_per_s: int | None = 30
    burst: int = 15
    max_crashes: int = 4
    timeout_ms: int = 6000

    @property
    def flags(self) -> tuple[str, ...]:
        """On the command line; stalls are not bounded, so that no job fails for the faults."""
        return (
            *("--concurrency", str(self.concurrency), "--memory", "64MiB"),
            *("--lock-duration", f"{self.lock_ms}ms", "--stalled-interval", f"{self.sweep_ms}ms"),
            *("--max-stalled", "1000", "--max-crashes", str(self.max_crashes)),
            *self._rate_flags,
            *("--level", "process", "--timeout", f"{self.timeout_ms}ms", "--jobs-per-child", "40"),
            *("--drain-timeout", "1s", "--env", "CHAOS_LEDGER"),
        )

    @property
    def _rate_flags(self) -> tuple[str, ...]:
        if self.tokens_per_s is None:
            return ()
        return ("--rate-limit", f"{self.tokens_per_s}/1s", "--burst", str(self.burst))


class Pen:
    """One supervisor after the other, in one place, through one proxy."""

    def __init__(self, number: int, proxy: FaultProxy, terms: Terms) -> None:
        self.name = f"supervisor {number}"
        self.proxy = proxy
        self.past: list[TorilRun] = []
        self._terms = terms
        self.run = self._started()

    @property
    def pid(self) -> int:
        """Of the supervisor that is there now."""
        return self.run.process.pid

    @property
    def worker(self) -> str:
        """Its name, as jobs carry it."""
        return f"{socket.gethostname()}-{self.pid}"

    def zygotes(self) -> list[psutil.Process]:
        """Its zygote, or none while there is none."""
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.pid).children()
        return []

    def children(self) -> list[psutil.Process]:
        """Its children."""
        found = []
        for zygote in self.zygotes():
            with suppress(psutil.NoSuchProcess):
                found += zygote.children()
        return found

    def job_pids(self) -> list[int]:
        """The processes in which its jobs run."""
        return [child.pid for child in self.children()]

    def ready(self) -> None:
        """Wait until it works."""
        self.run.ready()

    def kill(self) -> None:
        """SIGKILL."""
        self.run.process.kill()

    def stop(self) -> None:
        """SIGTERM."""
        self.run.stop(signal.SIGTERM)

    def restart(self) -> None:
        """Another takes the place of one that was killed or told to stop."""
        self.end()
        self.run = self._started()

    def revive(self) -> str:
        """As a service manager does: start another if it found no Redis when it began, and ended.

        Returns:
            What else made it end, which nothing should.
        """
        code = self.run.process.poll()
        if code is None:
            return ""
        was_at_work = bool(self.run.found("worker-started"))
        self.restart()
        return f"exit code {code}" if was_at_work or code != os.EX_UNAVAILABLE else ""

    def end(self) -> int:
        """Wait for its end; its exit code."""
        try:
            code = self.run.exit_code(EXIT_S)
        except subprocess.TimeoutExpired:
            code = -1
        self.run.__exit__()
        return code

    def close(self) -> None:
        """End it at once, whatever it does."""
        self.run.__exit__()

    def _started(self) -> TorilRun:
        run = TorilRun(
            QUEUE, "tests.chaos.jobs:processor", self.proxy.url, *UNWALLED, *self._terms.flags
        )
        self.past.append(run)
        return run


class Stage:
    """All of it; a context manager.

    Args:
        home: an empty directory, for what is written.
        ledger: of the run.
        terms: what the queue is worked with.
        pens: so many supervisors.
        nodes: so many workers in Node.
    """

    def __init__(
        self,
        home: Path,
        ledger: sqlite3.Connection,
        terms: Terms,
        *,
        pens: int = 3,
        nodes: int = 0,
    ) -> None:
        self.home = home
        self.ledger = ledger
        self.terms = terms
        self.pens: list[Pen | NodePen] = []
        self.stopped: set[int] = set()
        self._counts = pens, nodes
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.server = stack.enter_context(RedisServer(data_dir=self.home, append_only=True))
            self._keep_every_event()
            self.producers_proxy = self._proxy(stack, "producers")
            for pen in self._opened(stack):
                stack.callback(pen.close)
                self.pens.append(pen)
            stack.callback(self.calm)
            for pen in self.pens:
                pen.ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    @property
    def proxies(self) -> list[FaultProxy]:
        """Every way to the server."""
        return [self.producers_proxy, *(pen.proxy for pen in self.pens if isinstance(pen, Pen))]

    @property
    def nodes(self) -> list[NodePen]:
        """The workers in Node."""
        return [pen for pen in self.pens if isinstance(pen, NodePen)]

    def revive(self) -> None:
        """Supervisors that ended by themselves come back; those that should not have are noted."""
        for pen in self.pens:
            if why := pen.revive():
                note(self.ledger, "left_over", "end", f"{pen.name}: {why}")

    def note_processes(self) -> None:
        """Write down which processes there are now, to be looked for at the end."""
        for pen in self.pens:
            for what, found in (("zygote", pen.zygotes()), ("child", pen.children())):
                for process in found:
                    if (ticks := start_ticks(process.pid)) is not None:
                        note(self.ledger, "process", process.pid, ticks, f"{what} of {pen.name}")

    def stop(self, pid: int) -> None:
        """SIGSTOP; `calm` and `go_on` end it."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            self.stopped.add(pid)

    def go_on(self, pid: int) -> None:
        """SIGCONT."""
        self.stopped.discard(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def calm(self) -> None:
        """No fault is under way any more."""
        for pid in list(self.stopped):
            self.go_on(pid)
        for proxy in self.proxies:
            proxy.heal()

    def _opened(self, stack: ExitStack) -> Iterator[Pen | NodePen]:
        pens, nodes = self._counts
        for number in range(1, pens + 1):
            yield Pen(number, self._proxy(stack, str(number)), self.terms)
        for number in range(1, nodes + 1):
            path = self.server.socket_path
            yield NodePen(number, path, self.terms, self.home, queue=QUEUE)

    def _proxy(self, stack: ExitStack, name: str) -> FaultProxy:
        folder = self.home / name
        folder.mkdir()
        return stack.enter_context(FaultProxy(self.server.socket_path, folder))

    def _keep_every_event(self) -> None:
        with self.server.connect() as client:
            client.hset(f"bull:{QUEUE}:meta", "opts.maxLenEvents", 10_000_000)
