"""One BullMQ worker in Node after the other, in one place: a pen as `pens.Pen` is one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.jobs import KINDS
from tests.chaos.ledger import note, write_guarded
from tests.support.tied import tied
from tests.support.toril import ROOT

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    import psutil

    from tests.chaos.pens import Terms

SCRIPT = ROOT / "tests/interop/node/fleet_worker.js"
EXIT_S = 40.0


@dataclass(frozen=True)
class NodeRun:
    """One process; it said `ready` once it was."""

    process: subprocess.Popen[str]
    log: Path

    @property
    def lines(self) -> list[str]:
        """What it complained of."""
        return self.log.read_text().splitlines()


class NodePen:
    """A Node worker, and whoever takes its place.

    Args:
        number: which of them.
        socket_path: the server's.
        terms: what the queue is worked with.
        home: where it writes its part of the ledger, and its complaints.
        queue: what it works.
    """

    def __init__(
        self, number: int, socket_path: str, terms: Terms, home: Path, *, queue: str
    ) -> None:
        self.name = f"node {number}"
        self.past: list[NodeRun] = []
        self.ledger = home / f"{self.name}.jsonl"
        self._home = home
        self._number = number
        self._wish = {
            "socket": socket_path,
            "queue": queue,
            "ledger": str(self.ledger),
            "kinds": {
                name: {"harm": kind.harm, "harmed": kind.harmed} for name, kind in KINDS.items()
            },
            "options": {
                "concurrency": terms.concurrency,
                "lockDuration": terms.lock_ms,
                "stalledInterval": terms.sweep_ms,
                "maxStalledCount": 1000,
                "drainDelay": 1,
            },
        }
        self.run = self._started()

    @property
    def pid(self) -> int:
        """Of the worker that is there now."""
        return self.run.process.pid

    @property
    def worker(self) -> str:
        """Its name, as jobs carry it."""
        return self._worker(len(self.past))

    def ready(self) -> None:
        """Wait until it works."""
        assert self.run.process.stdout is not None
        assert self.run.process.stdout.readline() == "ready\n", self.run.lines

    def zygotes(self) -> list[psutil.Process]:
        """It has none."""
        return []

    def children(self) -> list[psutil.Process]:
        """It has none: jobs run in the worker itself."""
        return []

    def job_pids(self) -> list[int]:
        """The processes in which its jobs run."""
        return [self.pid]

    def kill(self) -> None:
        """SIGKILL."""
        self.run.process.kill()

    def stop(self) -> None:
        """SIGTERM."""
        self.run.process.send_signal(signal.SIGTERM)

    def restart(self) -> None:
        """Another takes its place."""
        self.end()
        self.run = self._started()

    def revive(self) -> str:
        """As `Pen.revive`: no Node worker ends by itself."""
        code = self.run.process.poll()
        if code is None:
            return ""
        self.restart()
        return f"exit code {code}"

    def end(self) -> int:
        """Wait for its end; its exit code."""
        try:
            return self.run.process.wait(EXIT_S)
        except subprocess.TimeoutExpired:
            return -1
        finally:
            self.close()

    def close(self) -> None:
        """End it at once, whatever it does."""
        self.run.process.kill()
        self.run.process.wait()
        if self.run.process.stdout is not None:
            self.run.process.stdout.close()

    def tell(self, ledger: sqlite3.Connection) -> None:
        """Copy what its workers wrote to the ledger of the run, and to the guarded store."""
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        ledger.execute("BEGIN")
        for line in lines:
            told = json.loads(line)
            note(ledger, told["table"], *told["row"])
            if told["table"] == "effect":
                ticket, attempt, *_ = told["row"]
                write_guarded(ledger, ticket, attempt)
        ledger.execute("COMMIT")

    def _started(self) -> NodeRun:
        log = self._home / f"{self.name}, {len(self.past) + 1}.err"
        wish = self._wish | {"name": self._worker(len(self.past) + 1)}
        with log.open("w") as stderr:
            process = subprocess.Popen(
                tied(["node", str(SCRIPT), json.dumps(wish)]),
                cwd=ROOT,
                env=os.environ | {"NODE_ENV": "production"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        run = NodeRun(process, log)
        self.past.append(run)
        return run

    def _worker(self, which: int) -> str:
        return f"{socket.gethostname()}-node-{self._number}-{which}"
