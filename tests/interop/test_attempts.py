"""Failing jobs that Node added and toril runs: how often, how far apart, and what is left of them.

All of them run once, side by side, under one toril per BullMQ; every test looks at one.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.conftest import PROCESSORS, SIX_AND_SLOWLY_FIVE
from tests.interop.node import NodeDriver, require_node
from tests.support.servers import RedisServer
from tests.support.toril import TorilRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis


QUEUE = "attempts"
SLACK_MS = 3000
"""For scheduling on a busy machine."""

CLOCK_MS = 2
"""Ids of entries are cut to milliseconds, at another moment than the script's own time."""

JOBS: dict[str, dict[str, Any]] = {
    "fixed": {"attempts": 3, "backoff": {"type": "fixed", "delay": 100}},
    "exponential": {"attempts": 4, "backoff": {"type": "exponential", "delay": 100}},
    "jitter": {"attempts": 8, "backoff": {"type": "fixed", "delay": 100, "jitter": 0.5}},
    "at-once": {"attempts": 2},
    "one-trace": {"attempts": 3, "stackTraceLimit": 1},
    "no-trace": {"attempts": 2, "stackTraceLimit": 0},
}
"""Options of the jobs that fail always; each has its name as its id."""

BARE = {"attempts": 3, "backoff": 120}
"""Options as somebody may write them by hand; BullMQ itself never stores a bare number."""


@dataclass(frozen=True)
class Ended:
    """What is left of one job: as Node sees it, and its events with the times of their entries."""

    job: dict[str, Any]
    events: list[tuple[int, dict[str, str]]]

    @property
    def names(self) -> list[str]:
        """Of the events."""
        return [fields["event"] for _at_ms, fields in self.events]

    @property
    def gaps_ms(self) -> list[int]:
        """From one start to the next."""
        starts = [at_ms for at_ms, fields in self.events if fields["event"] == "active"]
        return [later - sooner for sooner, later in itertools.pairwise(starts)]


@pytest.fixture(scope="module", params=SIX_AND_SLOWLY_FIVE)
def ended(request: pytest.FixtureRequest) -> Iterator[dict[str, Ended]]:
    """Job id → what is left of it."""
    require_node()
    with (
        RedisServer() as server,
        NodeDriver(server.socket_path, request.param) as node,
        server.connect() as client,
    ):
        for id_, opts in JOBS.items():
            node.call("add", queue=QUEUE, name="fail", data={}, opts={"jobId": id_} | opts)
        node.call("add", queue=QUEUE, name="unrecoverable", opts={"jobId": "fatal", "attempts": 5})
        _write_by_hand(client, "bare", BARE)
        with TorilRun(QUEUE, PROCESSORS, server.url, "--concurrency", "2", "--until-empty") as run:
            assert run.exit_code() == 0, "\n".join(run.lines)
        ids = [*JOBS, "fatal", "bare"]
        yield {id_: Ended(_job(node, id_), _events(client, id_)) for id_ in ids}


def _write_by_hand(client: redis.Redis, id_: str, opts: dict[str, Any]) -> None:
    job = {"name": "fail", "data": "{}", "opts": json.dumps(opts)}
    client.hset(f"bull:{QUEUE}:{id_}", mapping=job | {"timestamp": 1, "delay": 0, "priority": 0})
    client.lpush(f"bull:{QUEUE}:wait", id_)


def _job(node: NodeDriver, id_: str) -> dict[str, Any]:
    found: dict[str, Any] = node.call("getJob", queue=QUEUE, id=id_)
    return found


def _events(client: redis.Redis, id_: str) -> list[tuple[int, dict[str, str]]]:
    entries = [
        (int(at.split(b"-")[0]), {name.decode(): value.decode() for name, value in fields.items()})
        for at, fields in client.xrange(f"bull:{QUEUE}:events")
    ]
    return [(at_ms, fields) for at_ms, fields in entries if fields.get("jobId") == id_]


def test_7_fixed_backoff_keeps_every_attempt(ended: dict[str, Ended]) -> None:
    one = ended["fixed"]
    assert len(one.gaps_ms) == 2
    assert all(100 - CLOCK_MS <= gap < 100 + SLACK_MS for gap in one.gaps_ms)
    assert (one.job["state"], one.job["failedReason"]) == ("failed", "boom")
    assert (one.job["attemptsMade"], one.job["attemptsStarted"]) == (3, 3)
    assert len(one.job["stacktrace"]) == 3
    assert one.names[-2:] == ["failed", "retries-exhausted"]
    assert [f["attemptsMade"] for _at, f in one.events if "attemptsMade" in f] == ["3"]


def test_8_exponential_backoff_doubles(ended: dict[str, Ended]) -> None:
    gaps_ms = ended["exponential"].gaps_ms
    assert len(gaps_ms) == 3
    assert all(
        least - CLOCK_MS <= gap < least + SLACK_MS
        for gap, least in zip(gaps_ms, (100, 200, 400), strict=True)
    )


def test_9_backoff_as_a_bare_number_is_a_fixed_one(ended: dict[str, Ended]) -> None:
    one = ended["bare"]
    assert len(one.gaps_ms) == 2
    assert all(120 - CLOCK_MS <= gap < 120 + SLACK_MS for gap in one.gaps_ms)
    assert one.job["attemptsMade"] == 3


def test_10_jitter_takes_a_share_of_the_wait(ended: dict[str, Ended]) -> None:
    one = ended["jitter"]
    assert len(one.gaps_ms) == 7
    assert all(50 - CLOCK_MS <= gap < 100 + SLACK_MS for gap in one.gaps_ms)
    delays_ms = [
        int(fields["delay"]) - at_ms for at_ms, fields in one.events if fields["event"] == "delayed"
    ]
    assert all(50 - CLOCK_MS <= delay_ms <= 100 + CLOCK_MS for delay_ms in delays_ms)
    assert len(set(delays_ms)) > 1


def test_11_unrecoverable_error_ends_the_job_at_once(ended: dict[str, Ended]) -> None:
    one = ended["fatal"]
    assert one.names == ["added", "waiting", "active", "failed"]
    assert (one.job["state"], one.job["failedReason"]) == ("failed", "no use")
    assert (one.job["attemptsMade"], one.job["attemptsStarted"]) == (1, 1)


def test_job_without_a_backoff_is_retried_at_once(ended: dict[str, Ended]) -> None:
    one = ended["at-once"]
    assert one.names == [
        *("added", "waiting", "active", "waiting", "active", "failed", "retries-exhausted")
    ]


@pytest.mark.parametrize(("job_id", "traces"), [("one-trace", 1), ("no-trace", 0)])
def test_16_as_many_stack_traces_stay_as_the_job_wants(
    job_id: str, traces: int, ended: dict[str, Ended]
) -> None:
    assert len(ended[job_id].job["stacktrace"]) == traces
    assert ended[job_id].job["failedReason"] == "boom"
