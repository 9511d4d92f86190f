"""A chaos run from its seed to its evidence: produce, harm, calm down, drain, look."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from tests.chaos.faults import FAULTS, inflict, schedule
from tests.chaos.jobs import KINDS, draw
from tests.chaos.ledger import new_ledger, note, now_ms
from tests.chaos.observe import complete_history, note_left_over, note_redis, note_terms
from tests.chaos.pens import QUEUE, Stage, Terms
from tests.chaos.producer import Orders
from tests.support.tied import tied
from tests.support.toril import ROOT
from tests.support.waiting import until
from toril import Queue

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping
    from pathlib import Path

    from tests.chaos.faults import Fault

CLOSING_BATCH = 30
REVIVAL_S = 15.0


@dataclass(frozen=True)
class Plan:
    """One run.

    Attributes:
        seed: of every choice.
        jobs: of both producers together.
        per_s: jobs added per second.
        pause_s: between two faults, the shortest and the longest.
        drain_s: how long the rest of the work may take once the faults are over.
        terms: what the queue is worked with.
        pens: supervisors.
        nodes: workers in Node beside them.
        kinds: of jobs.
        faults: by their names.
    """

    seed: int
    jobs: int
    per_s: float
    pause_s: tuple[float, float] = (0.05, 0.4)
    drain_s: float = 60.0
    terms: Terms = field(default_factory=Terms)
    pens: int = 3
    nodes: int = 0
    kinds: tuple[str, ...] = tuple(KINDS)
    faults: Mapping[str, Fault] = field(default_factory=lambda: FAULTS)


class Run:
    """Carries a plan out; afterwards the ledger holds everything that the promises ask for."""

    def __init__(self, plan: Plan, home: Path) -> None:
        self.plan = plan
        self.ledger: sqlite3.Connection = new_ledger(home / "ledger")
        self._home = home
        self._rng = random.Random(plan.seed)
        self._producers: list[subprocess.Popen[bytes]] = []
        note_terms(self.ledger, plan.terms)

    def carry_out(self) -> None:
        """All of it; returns when everything has ended."""
        folder = self._home / "server"
        folder.mkdir()
        with self._stage(folder) as stage:
            try:
                self._harm(stage)
                self._calm(stage)
                self._stop(stage)
                for pen in stage.nodes:
                    pen.tell(self.ledger)
                with stage.server.connect() as client:
                    note_redis(self.ledger, client)
                complete_history(self.ledger)
            finally:
                self._end_producers()
                self._keep_logs(stage)
        note_left_over(self.ledger, self._home / "tmp")

    def _stage(self, folder: Path) -> Stage:
        plan = self.plan
        return Stage(folder, self.ledger, plan.terms, pens=plan.pens, nodes=plan.nodes)

    def _harm(self, stage: Stage) -> None:
        """Faults, for as long as jobs are added."""
        self._start_producers(stage.producers_proxy.url)
        for name in schedule(self._rng, self.plan.faults):
            if all(producer.poll() is not None for producer in self._producers):
                break
            rest_s = inflict(stage, name, self._rng)
            stage.revive()
            time.sleep(rest_s + self._rng.uniform(*self.plan.pause_s))
        stage.calm()
        stage.revive()
        codes = [producer.wait() for producer in self._producers]
        assert codes == [0, 0], "a producer ended in an error"

    def _calm(self, stage: Stage) -> None:
        """Drain, then see who works."""
        with Queue(QUEUE, redis=stage.server.url) as queue:
            with suppress(TimeoutError):
                until(lambda: _is_drained(queue), self.plan.drain_s)
            numbers = iter(range(1_000_000))
            stage.revive()
            alive = {pen.worker for pen in stage.pens}
            end_s = time.monotonic() + REVIVAL_S
            while alive and time.monotonic() < end_s:
                alive -= self._closing_batch(queue, numbers)
        for pen in stage.pens:
            note(self.ledger, "alive", pen.worker)

    def _closing_batch(self, queue: Queue, numbers) -> set[str]:
        """Jobs that keep a child busy for a moment; who did them."""
        added = []
        for number in (next(numbers) for _ in range(CLOSING_BATCH)):
            ticket = f"closing-{number}"
            job = draw(self._rng, ticket, ["slow"])
            note(self.ledger, "submitted", ticket, job.name, 0, now_ms())
            added.append(queue.add(job.name, job.data))
            note(self.ledger, "acked", ticket, added[-1].id, now_ms())
        with suppress(TimeoutError):
            until(lambda: _is_drained(queue), REVIVAL_S)
        return {queue.get_job(job.id).processed_by for job in added}

    def _stop(self, stage: Stage) -> None:
        stage.note_processes()
        for pen in stage.pens:
            pen.stop()
        for pen in stage.pens:
            if (code := pen.end()) != 0:
                note(self.ledger, "left_over", "end", f"{pen.name}: exit code {code}")

    def _keep_logs(self, stage: Stage) -> None:
        """What every supervisor said, beside the ledger."""
        for pen in stage.pens:
            for run in pen.past:
                log = self._home / f"{pen.name}, {run.process.pid}.log"
                log.write_text("\n".join(run.lines))

    def _start_producers(self, url: str) -> None:
        for name in ("p", "q"):
            seed, half, pace = str(self.plan.seed), self.plan.jobs // 2, self.plan.per_s / 2
            orders = Orders(name, url, QUEUE, seed, half, pace, self.plan.kinds)
            words = [sys.executable, "-m", "tests.chaos.producer", json.dumps(asdict(orders))]
            self._producers.append(subprocess.Popen(tied(words), cwd=ROOT))

    def _end_producers(self) -> None:
        for producer in self._producers:
            producer.kill()
            producer.wait()


def _is_drained(queue: Queue) -> bool:
    counts = queue.counts()
    return not any(counts[name] for name in ("waiting", "active", "delayed", "prioritized"))
