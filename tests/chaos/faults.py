"""The faults of a chaos run, and the seeded choice among them.

A fault is a function on the stage that returns when it is over. What it chooses, it chooses by the
run's random numbers; that it happened, to whom and when stands in the ledger.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import redis

from tests.chaos.ledger import note, now_ms, open_ledger

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Mapping

    from tests.chaos.pens import Pen, Stage

FIND_S = 2.0
"""How long a process to harm is looked for; a pool may be between two zygotes."""

LEDGER_FREE_MS = 200


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        weight: how often it comes, against the others.
        act: does it; returns to whom.
        rest_s: how long the next one waits at least, so that what it does can be seen.
    """

    weight: int
    act: Callable[[Stage, random.Random], str]
    rest_s: float = 0.0


def kill_child(stage: Stage, rng: random.Random) -> str:
    """SIGKILL of a child."""
    child = _found(stage, rng, lambda pen: pen.children())
    if child is None:
        return ""
    _signal(child.pid, signal.SIGKILL)
    return str(child.pid)


def stop_child(stage: Stage, rng: random.Random) -> str:
    """SIGSTOP of a child for longer than its lock, or until its time is up."""
    for_s = rng.choice([0.5, 2.0, 0.0])
    child = _found(stage, rng, lambda pen: pen.children())
    if child is None:
        return ""
    stage.stop(child.pid)
    if not _is_ledger_free(stage):
        # It holds the file in which all the others write: that would be a fault of the test's.
        stage.go_on(child.pid)
        return ""
    if for_s:
        time.sleep(for_s)
        stage.go_on(child.pid)
    return str(child.pid)


def kill_zygote(stage: Stage, rng: random.Random) -> str:
    """SIGKILL of a zygote; its children go with it."""
    pen = rng.choice(stage.pens)
    for zygote in pen.zygotes():
        _signal(zygote.pid, signal.SIGKILL)
    return pen.worker


def kill_supervisor(stage: Stage, rng: random.Random) -> str:
    """SIGKILL of a supervisor; another takes its place."""
    pen = rng.choice(stage.pens)
    worker = pen.worker
    stage.note_processes()
    pen.kill()
    pen.restart()
    return worker


def kill_worker(stage: Stage, rng: random.Random) -> str:
    """SIGKILL of a worker, toril's or Node's; to whom, by the processes of its jobs."""
    pen = rng.choice(stage.pens)
    stage.note_processes()
    stage.stop(pen.pid)  # So that no job starts in a process that is not noted.
    pids = pen.job_pids()
    pen.kill()
    stage.stopped.discard(pen.pid)
    pen.restart()
    return " ".join(map(str, pids)) or pen.worker


def replace_supervisor(stage: Stage, rng: random.Random) -> str:
    """SIGTERM, as a deployment does it; another takes its place."""
    pen = rng.choice(stage.pens)
    worker = pen.worker
    pen.stop()
    pen.restart()
    return worker


def stop_supervisor(stage: Stage, rng: random.Random) -> str:
    """SIGSTOP of a supervisor for longer than its locks hold."""
    pen = rng.choice(stage.pens)
    for_s = rng.choice([0.3, stage.terms.lock_ms / 1000 + 1.0])
    stage.stop(pen.pid)
    time.sleep(for_s)
    stage.go_on(pen.pid)
    return pen.worker


def kill_redis(stage: Stage, rng: random.Random) -> str:
    """SIGKILL of the server, which comes back with its append-only file."""
    stage.server.kill()
    time.sleep(rng.choice([0.0, 0.5, stage.terms.lock_ms / 1000 + 0.5]))
    stage.server.start()
    return "server"


def stop_redis(stage: Stage, rng: random.Random) -> str:
    """SIGSTOP of the server, for less or for more than locks hold."""
    for_s = rng.choice([0.3, stage.terms.lock_ms / 1000 + 0.7])
    stage.server.freeze()
    time.sleep(for_s)
    stage.server.thaw()
    return "server"


def flush_scripts(stage: Stage, _rng: random.Random) -> str:
    """SCRIPT FLUSH."""
    with stage.server.connect() as client:
        client.script_flush()
    return "server"


def kill_connections(stage: Stage, _rng: random.Random) -> str:
    """CLIENT KILL of every connection."""
    with stage.server.connect() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    return "everybody"


def cut_replies(stage: Stage, rng: random.Random) -> str:
    """Requests are executed and their replies lost, or half lost."""
    number, proxy = rng.choice(list(enumerate(stage.proxies)))
    cut = rng.choice([proxy.cut, proxy.cut_in_reply])
    cut(rng.randint(1, 3))
    time.sleep(0.5)
    proxy.heal()
    return _way(number)


def reset_connections(stage: Stage, rng: random.Random) -> str:
    """Every connection of one participant ends at once."""
    number, proxy = rng.choice(list(enumerate(stage.proxies)))
    proxy.reset()
    return _way(number)


def delay_replies(stage: Stage, rng: random.Random) -> str:
    """A slow network for one participant."""
    number, proxy = rng.choice(list(enumerate(stage.proxies)))
    proxy.delay(rng.choice([0.05, 0.3]))
    time.sleep(1.0)
    proxy.heal()
    return _way(number)


def lose_everything(stage: Stage, rng: random.Random) -> str:
    """What one supervisor sends or should get vanishes; its connections look alive."""
    pen = rng.choice(stage.pens)
    pen.proxy.blackhole()
    time.sleep(rng.choice([0.5, 2.0]))
    pen.proxy.heal()
    return pen.worker


FAULTS: dict[str, Fault] = {
    "child-kill": Fault(8, kill_child),
    "child-stop": Fault(4, stop_child),
    "zygote-kill": Fault(3, kill_zygote),
    "supervisor-kill": Fault(3, kill_supervisor, 0.5),
    "supervisor-term": Fault(3, replace_supervisor),
    "supervisor-stop": Fault(3, stop_supervisor, 0.5),
    "redis-kill": Fault(3, kill_redis, 0.5),
    "redis-stop": Fault(3, stop_redis, 0.5),
    "script-flush": Fault(3, flush_scripts),
    "client-kill": Fault(3, kill_connections),
    "reply-cut": Fault(5, cut_replies),
    "reset": Fault(3, reset_connections),
    "delay": Fault(2, delay_replies),
    "blackhole": Fault(2, lose_everything),
}


FLEET_FAULTS: dict[str, Fault] = {"worker-kill": Fault(1, kill_worker)}
"""What a mixed fleet meets."""


def schedule(rng: random.Random, faults: Mapping[str, Fault] = FAULTS) -> Iterator[str]:
    """Names without end: every fault once, in random order, then by their weights."""
    names = list(faults)
    yield from rng.sample(names, len(names))
    weights = [fault.weight for fault in faults.values()]
    while True:
        yield rng.choices(names, weights)[0]


def inflict(stage: Stage, name: str, rng: random.Random) -> float:
    """One fault, noted; how long the next one should wait at least."""
    fault = (FAULTS | FLEET_FAULTS)[name]
    on_ms = now_ms()
    with suppress(psutil.NoSuchProcess, redis.ConnectionError):
        if target := fault.act(stage, rng):
            note(stage.ledger, "fault", name, target, on_ms, now_ms())
    return fault.rest_s


def _found(
    stage: Stage, rng: random.Random, look: Callable[[Pen], list[psutil.Process]]
) -> psutil.Process | None:
    until = time.monotonic() + FIND_S
    while time.monotonic() < until:
        if found := look(rng.choice(stage.pens)):
            return rng.choice(found)
        time.sleep(0.02)
    return None


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_ledger_free(stage: Stage) -> bool:
    with closing(open_ledger(os.environ["CHAOS_LEDGER"])) as probe:
        probe.execute(f"PRAGMA busy_timeout = {LEDGER_FREE_MS}")
        try:
            probe.execute("BEGIN IMMEDIATE")
            probe.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
    return bool(stage.pens)


def _way(number: int) -> str:
    return f"way {number}"
