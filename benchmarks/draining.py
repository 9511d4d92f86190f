"""How fast a worker empties a queue, and what that costs: the same watch for everybody.

Jobs are added first, then the worker starts. From when a fifth of them is completed, as the queue
itself counts them, to when all are: so no start of an interpreter, no import, no fork of a first
child, no cold compiler is in any figure. The watch looks a hundred times a second.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import redis

from benchmarks.processes import Processes
from benchmarks.servers import server_cpu_s

if TYPE_CHECKING:
    from benchmarks.contestants import Contestant

_LOOK_S = 0.01
_STUCK_S = 60.0
"""Chosen: nobody leaves a queue alone for longer than five seconds on an idle machine."""

_WARM_UP = 0.2
_COMPLAINTS = ("Traceback", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True)
class Window:
    """What was done between two looks, and by whom.

    Args:
        jobs: completed meanwhile.
        seconds: wall time.
        server_s: CPU of the server.
        leader_s: CPU of the processes that were started: supervisors.
        others_s: CPU of what those started: children.
        elsewhere_s: CPU of everything else on this machine, the watch included.
    """

    jobs: int
    seconds: float
    server_s: float
    leader_s: float
    others_s: float
    elsewhere_s: float

    def figures(self) -> dict[str, float]:
        """As a benchmark prints them, by measure."""
        return {
            "jobs/s": self.jobs / self.seconds,
            "server µs/job": self.server_s / self.jobs * 1e6,
            "worker µs/job": (self.leader_s + self.others_s) / self.jobs * 1e6,
            "foreign cores": self.elsewhere_s / self.seconds,
        }


def drain(url: str, contestant: Contestant, jobs: int) -> Window:
    """Let a worker complete jobs that are added beforehand, on a server that was emptied."""
    with redis.Redis.from_url(url) as client:
        client.flushall()
    contestant.add(url, jobs)
    return watch(url, contestant, jobs, int(jobs * _WARM_UP), jobs)


def watch(url: str, contestant: Contestant, jobs: int, first: int, last: int) -> Window:
    """Start a worker, and measure from when `first` of the jobs are completed to `last`.

    A run so short that the first look finds it over counts from the start: it proves that it runs.

    Raises:
        RuntimeError: it ended, complained, or has completed nothing for long.
    """
    commands = list(contestant.started_with(url))
    environment = contestant.environment(url)
    with (
        redis.Redis.from_url(url) as client,
        Processes(commands, contestant.cwd, environment) as processes,
    ):

        def until(wanted: int) -> _Look:
            return _Look.at(client, processes, _await(contestant, client, processes, jobs, wanted))

        start = _Look.at(client, processes, 0)
        warm = until(first)
        window = (warm if warm.done < last else start).to(until(last))
        if processes.wrote(*_COMPLAINTS):
            raise RuntimeError(f"{contestant.name} complained: {processes.said()}")
    return window


def _await(
    contestant: Contestant, client: redis.Redis, processes: Processes, jobs: int, wanted: int
) -> int:
    done, moved_at_s = -1, time.monotonic()
    while (found := contestant.done(client, jobs)) < wanted:
        processes.check()
        if found != done:
            done, moved_at_s = found, time.monotonic()
        elif time.monotonic() - moved_at_s > _STUCK_S:
            raise RuntimeError(f"{contestant.name}: {done} of {jobs} done: {processes.said()}")
        time.sleep(_LOOK_S)
    return found


@dataclass(frozen=True, slots=True)
class _Look:
    """The clocks at one moment."""

    done: int
    at_s: float
    server_s: float
    leader_s: float
    others_s: float
    busy_s: float

    @classmethod
    def at(cls, client: redis.Redis, processes: Processes, done: int) -> _Look:
        at_s, server_s = time.monotonic(), server_cpu_s(client)
        machine = psutil.cpu_times()
        used = processes.usage()
        busy_s = sum(machine) - machine.idle - machine.iowait - machine.guest - machine.guest_nice
        return cls(done, at_s, server_s, used.leaders_s, used.others_s, busy_s)

    def to(self, later: _Look) -> Window:
        server_s = later.server_s - self.server_s
        leader_s = later.leader_s - self.leader_s
        others_s = later.others_s - self.others_s
        ours_s = server_s + leader_s + others_s
        return Window(
            jobs=later.done - self.done,
            seconds=later.at_s - self.at_s,
            server_s=server_s,
            leader_s=leader_s,
            others_s=others_s,
            elsewhere_s=max(later.busy_s - self.busy_s - ours_s, 0.0),
        )
