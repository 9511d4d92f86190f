"""Who is measured: toril and its peers, how each is filled, started and counted.

Each as its documentation advises for many short jobs on two cores; README.md says why. All write
nothing about jobs that go well, except where the name of a row says otherwise.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.machine import PEERS, PEERS_PYTHON, ROOT
from benchmarks.servers import socket_of
from toril import NewJob, Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import redis

    from benchmarks.harness import Given

QUEUE = "bench"
CELERY_WORDS = "--pool prefork --loglevel ERROR --without-gossip --without-mingle"
CELERY_WORDS += " --without-heartbeat"


@dataclass(frozen=True, slots=True)
class Contestant:
    """One worker, as it is started for a measurement.

    Args:
        name: as it is printed: what it is, with how many processes or slots.
        isolation: what a job shares with other jobs and with the worker.
        turn_jobs: about three seconds' worth on two cores.
        commands: one each process that is started; `{url}` and `{socket}` are the server's.
        done: how many of the jobs, whose number it is given, are completed.
        adding: module that adds its jobs; None for toril's producer, whose jobs all BullMQs take.
        data: of each job that toril's producer adds.
        cwd: where the commands run.
        env: in addition.
    """

    name: str
    isolation: str
    turn_jobs: int
    commands: tuple[tuple[str, ...], ...]
    done: Callable[[redis.Redis, int], int]
    adding: str | None = None
    data: object = None
    cwd: Path = PEERS
    env: Mapping[str, str] = field(default_factory=dict)

    def is_installed(self) -> bool:
        """Whether its interpreter or package is there."""
        if self.cwd == ROOT:
            return True
        if self.commands[0][0] == "node":
            return (PEERS / "node_modules" / "bullmq").exists()
        return PEERS_PYTHON.exists()

    def add(self, url: str, jobs: int) -> None:
        """Put jobs into its queue."""
        if self.adding is None:
            with Queue(QUEUE, redis=url) as queue:
                queue.add_bulk(NewJob("noop", self.data) for _ in range(jobs))
            return
        command = [str(PEERS_PYTHON), "add.py", self.adding, str(jobs)]
        subprocess.run(command, cwd=self.cwd, env=os.environ | self.environment(url), check=True)

    def started_with(self, url: str) -> Iterator[list[str]]:
        """Its commands for one server."""
        places = {"{url}": url, "{socket}": socket_of(url)}
        for command in self.commands:
            yield [places.get(word, word) for word in command]

    def environment(self, url: str) -> dict[str, str]:
        """What its processes find in their environment."""
        return {"BENCH_REDIS": url, **self.env}


def toril(
    children: int, *more: str, processor: str = "noop", supervisors: int = 1, log: str = "warning"
) -> Contestant:
    """This project, at its default level `restricted`."""
    command = (sys.executable, "-m", "toril", "run", "--queue", QUEUE, "--redis", "{url}")
    command += ("--processor", f"benchmarks.processors:{processor}", "--log-level", log)
    command += ("--concurrency", str(children), *more)
    many = "" if supervisors == 1 else f"{supervisors} supervisors of "
    return Contestant(
        name=f"toril, {many}{children} children",
        isolation="sandbox",
        turn_jobs=30_000,
        commands=(command,) * supervisors,
        done=completed,
        cwd=ROOT,
    )


def bullmq_inline(concurrency: int) -> Contestant:
    """BullMQ for Node without isolation."""
    return Contestant(
        name=f"BullMQ inline, concurrency {concurrency}",
        isolation="none",
        turn_jobs=45_000,
        commands=(("node", "bullmq_inline.mjs", "{socket}", QUEUE, str(concurrency)),),
        done=completed,
    )


def bullmq_sandboxed(children: int, processor: str = "noop.cjs") -> Contestant:
    """BullMQ for Node with a processor file."""
    command = ("node", "bullmq_sandboxed.mjs", "{socket}", QUEUE, str(children), processor)
    return Contestant(
        name=f"BullMQ sandboxed, {children} children",
        isolation="process",
        turn_jobs=12_000,
        commands=(command,),
        done=completed,
    )


def bullmq_python(processes: int) -> Contestant:
    """BullMQ for Python; ten slots a process were its fastest."""
    command = (str(PEERS_PYTHON), "bullmq_python.py", "{url}", QUEUE, "10")
    return Contestant(
        name=f"BullMQ for Python, {processes} processes",
        isolation="none",
        turn_jobs=9_000,
        commands=(command,) * processes,
        done=completed,
    )


def celery(processes: int) -> Contestant:
    """Celery's prefork pool."""
    command = (str(PEERS_PYTHON), "-m", "celery", "--app", "celery_noop", "worker")
    command += (*CELERY_WORDS.split(), "--concurrency", str(processes))
    return Contestant(
        name=f"Celery prefork, {processes} processes",
        isolation="process",
        turn_jobs=4_000,
        commands=(command,),
        done=lambda client, jobs: jobs - client.llen("celery") - client.hlen("unacked"),
        adding="celery_noop",
    )


def rq(processes: int, worker: str) -> Contestant:
    """RQ's pool of workers: `Worker` forks for each job, `SimpleWorker` does not."""
    command = (str(PEERS_PYTHON), "-m", "rq.cli", "worker-pool", "--num-workers", str(processes))
    command += ("--url", "{url}", "--quiet", "--worker-class", f"rq.worker.{worker}")
    is_forking = worker == "Worker"
    return Contestant(
        name=f"RQ {'fork' if is_forking else 'simple'}, {processes} workers",
        isolation="process per job" if is_forking else "process",
        turn_jobs=400 if is_forking else 2_000,
        commands=(command,),
        done=lambda client, _: client.zcard("rq:finished:default"),
        adding="rq_noop",
    )


def dramatiq(processes: int, threads: int) -> Contestant:
    """Dramatiq; with one thread a process every job has a process to itself while it runs."""
    command = (str(PEERS_PYTHON), "-m", "dramatiq", "dramatiq_noop", "--processes", str(processes))
    command += ("--threads", str(threads))
    return Contestant(
        name=f"Dramatiq, {processes} processes by {threads} thread{'s' * (threads > 1)}",
        isolation="process" if threads == 1 else "none",
        turn_jobs=30_000,
        commands=(command,),
        done=lambda client, jobs: jobs - client.hlen("dramatiq:default.msgs"),
        adding="dramatiq_noop",
        env={"dramatiq_queue_prefetch": "100"},
    )


def huey(processes: int) -> Contestant:
    """Huey's process workers."""
    command = (str(PEERS_PYTHON), "-m", "huey.bin.huey_consumer", "huey_noop.huey")
    command += ("--worker-type", "process", "--workers", str(processes))
    command += ("--no-periodic", "--quiet")
    return Contestant(
        name=f"Huey, {processes} processes",
        isolation="process",
        turn_jobs=10_000,
        commands=(command,),
        done=lambda client, jobs: jobs - client.llen("huey.redis.bench"),
        adding="huey_noop",
    )


def present(wanted: Sequence[Contestant], given: Given) -> list[Contestant]:
    """Those that are installed; that one is not is an error, except with `--smoke`.

    Raises:
        SystemExit: not a smoke run, and one is missing.
    """
    if missing := [one.name for one in wanted if not one.is_installed()]:
        told = f"not installed: {'; '.join(missing)}. `make bench-peers` installs them."
        if not given.smoke:
            sys.exit(told)
        sys.stdout.write(f"left out, {told}\n")
    return [one for one in wanted if one.is_installed()]


def is_there(peer: Path, given: Given) -> bool:
    """Whether a peer's package is installed; as `present`."""
    if not peer.exists() and not given.smoke:
        sys.exit(f"not installed: {peer}. `make bench-peers` installs the peers.")
    return peer.exists()


def completed(client: redis.Redis, _: int) -> int:
    """In BullMQ's layout."""
    return int(client.zcard(f"bull:{QUEUE}:completed"))
