"""Whatever others leave in a queue's keys: a reason on the job, never a stuck queue, never a crash.

One supervisor meets every case of `hostile.py` and `hostile_keys.py`, each with a good job behind
the bad one.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.invariants.hostile import BASE, PLAIN, QUEUE, Case, put
from tests.invariants.hostile_keys import BROKEN, CASES, STATES
from tests.support.servers import RedisServer
from tests.support.toril import TorilRun
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

BOUND_S = 10.0
"""How long the good job may take; chosen: far over what it needs."""

WATCHED_S = 0.15
MOST_CALLS = 12 + 40 * WATCHED_S
"""Scripts in the time that is watched; chosen: a poll every 0.1 s, renewals, sweeps and slack."""

COMPLAINTS = frozenset(
    {"settlement-refused", "report-refused", "redis-failed", "upkeep-failed", "redis-lost"}
)
MOST_COMPLAINTS = 3
FLAGS = ("--concurrency", "1", "--stalled-interval", "200ms", "--lock-duration", "1s")


class Arena:
    """An empty queue, and the one supervisor that works it."""

    def __init__(self, client: redis.Redis, run: TorilRun) -> None:
        self.client = client
        self.run = run
        self.began = len(run.events)

    def begin(self) -> None:
        """Forget what was before: a log that tells of this job has told of all earlier ones."""
        name = uuid4().hex
        self.set({}, (name.encode(), {}, "wait"))
        until(lambda: self._is_alive() and self.told("job-settled", job_id=name), BOUND_S)
        self.client.flushall()
        self.began = len(self.run.events)

    def set(self, keys: dict[str, Any], *jobs: tuple[bytes, dict[str, Any] | None, str]) -> None:
        """Put everything there at once, so that nothing is seen half done."""
        with self.client.pipeline(transaction=True) as pipe:
            for suffix, value in keys.items():
                put(pipe, suffix, value)
            for job_id, fields, place in jobs:
                if fields is not None:
                    put(pipe, job_id, {**PLAIN, **fields})
                if place == "delayed":
                    pipe.zadd(BASE + b"delayed", {job_id: 1})
                else:
                    pipe.lpush(BASE + place.encode(), job_id)
            if "marker" not in keys:
                pipe.zadd(BASE + b"marker", {"0": 0})
            pipe.execute()

    def done(self, job_id: bytes = b"good") -> None:
        """Wait until the job has ended."""
        until(
            lambda: self._is_alive() and self.client.hexists(BASE + job_id, "finishedOn"), BOUND_S
        )

    def place(self, job_id: bytes) -> str:
        """Where an id stands; `gone` for nowhere."""
        for name in ("completed", "failed", "delayed", "prioritized"):
            if self.client.zscore(BASE + name.encode(), job_id) is not None:
                return name
        for name in ("wait", "active"):
            if self.client.lpos(BASE + name.encode(), job_id) is not None:
                return name
        return "gone"

    def told(self, *names: str, **fields: Any) -> list[dict[str, Any]]:
        """What this case made the supervisor say."""
        return [
            event
            for event in self.run.events[self.began :]
            if event["event"] in names and fields.items() <= event.items()
        ]

    def calls(self) -> int:
        """Scripts run so far."""
        return int(self.client.info("commandstats")["cmdstat_evalsha"]["calls"])

    def is_calm(self) -> None:
        """Neither the server nor the log is flooded."""
        before = self.calls()
        time.sleep(WATCHED_S)
        assert self.calls() - before <= MOST_CALLS
        assert len(self.told(*COMPLAINTS)) <= MOST_COMPLAINTS

    def _is_alive(self) -> bool:
        assert self.run.process.poll() is None, "\n".join(self.run.lines[-30:])
        return True


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


@pytest.fixture(scope="module")
def supervisors() -> Iterator[list[TorilRun]]:
    """The one supervisor; another follows where a case has killed it."""
    runs: list[TorilRun] = []
    yield runs
    for run in runs:
        run.__exit__()


@pytest.fixture
def arena(server: RedisServer, supervisors: list[TorilRun]) -> Iterator[Arena]:
    with server.connect() as client:
        client.flushall()
        if not supervisors or supervisors[-1].process.poll() is not None:
            command = ("-m", "tests.invariants.brisk", "run")
            processors = "tests.interop.processors:processors"
            words = (*FLAGS, "--metrics", "5", "--level", "process")
            run = TorilRun(QUEUE, processors, server.url, *words, command=command)
            supervisors.append(run)
            run.ready()
        arena = Arena(client, supervisors[-1])
        arena.begin()
        yield arena


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=f"{room}: {name}")
        for room in CASES
        for name, case in CASES[room].items()
    ],
)
def test_hostile_job_ends_with_a_reason_and_holds_nobody_up(arena: Arena, case: Case):
    arena.set(case.keys, (case.id, case.fields, case.place), (b"good", {}, "wait"))

    arena.done()
    until(lambda: arena.place(case.id) == case.ends, BOUND_S)

    if case.ends == "failed":
        reason = arena.client.hget(BASE + case.id, "failedReason").decode(errors="replace")
        assert re.search(case.why, reason), reason[:500]
    if case.fields is not None:
        job_id = case.id.decode(errors="surrogateescape")
        until(lambda: arena.told("job-settled", job_id=job_id))
        assert len(arena.told("job-settled", job_id=job_id)) <= case.attempts
    assert len(arena.told(*COMPLAINTS)) <= MOST_COMPLAINTS
    if "zebra" in str((case.fields or {}).get("opts")):
        assert arena.client.hget(BASE + case.id, "opts") == case.fields["opts"].encode()


@pytest.mark.parametrize("keys", [pytest.param(keys, id=name) for name, keys in STATES.items()])
def test_hostile_queue_is_worked_all_the_same(arena: Arena, keys: dict[str, Any]):
    arena.set(keys, (b"first", {}, "wait"), (b"good", {}, "wait"))

    arena.done()
    until(lambda: arena.client.llen(BASE + b"active") == 0, BOUND_S)

    arena.is_calm()
    assert arena.told("redis-failed") == []
    if "whatever" in keys:
        assert arena.client.get(BASE + b"whatever") == b"x"


@pytest.mark.parametrize(("name", "value"), BROKEN.items(), ids=list(BROKEN))
def test_broken_key_is_told_once_and_mended_is_enough(arena: Arena, name: str, value: Any):
    job = () if name == "wait" else ((b"good", {}, "wait"),)
    arena.set({name: value}, *job)

    told = until(lambda: [e for e in arena.told("redis-failed") if f":{name} " in e["reason"]])
    assert "redis-cli TYPE" in told[0]["reason"]
    arena.is_calm()
    assert not arena.client.hexists(BASE + b"good", "processedOn")

    arena.client.delete(BASE + name.encode())
    if name == "wait":
        arena.set({}, (b"good", {}, "wait"))
    arena.done()
