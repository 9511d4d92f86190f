"""Schedules that Node defines and toril's workers carry on; a Node worker is the control."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.compare import queue_view
from tests.interop.conftest import BOTH_MAJORS_IN_FULL, PROCESSORS
from tests.support.toril import TorilRun
from tests.support.waiting import until
from toril.runtime.schedule import next_match

if TYPE_CHECKING:
    import redis

    from tests.interop.node import NodeDriver

HOUR_MS = 3_600_000
PER_CALL = 100
"""Cases that Node reckons at a time; chosen: its driver answers in time on a busy machine."""
PATTERNS = [
    "30 2 * * *", "0 * * * *", "*/15 * * * *", "*/15 2 * * *", "0 2,3 * * *", "0 0 * * *",
    "30 1 * * *", "0 30 2 * * *", "*/20 * * * * *", "0 */2 * * *", "0 9 * * MON", "0 0 L * *",
    "0 0 * * 5L", "0 0 * * 1#2", "0 0 13 * 5", "0 0 */2 * 1", "0 0 1 * */3", "@daily", "@weekly",
    "0 0 ? * 7", "15 10 29 2 *", "0 1-3 * * *", "*/30 1,2 * * *", "0 0 1 JAN *", "5/10 * * * *",
    "0 12 * * 0-2", "30 * * * *", "0 0-23 * * *", "10 2-4/2 * * *",
]  # fmt: skip
ZONES = ["Europe/Berlin", "America/New_York", "UTC", "Asia/Kolkata"]
STARTS = [
    "2026-03-28T20:00", "2026-03-29T01:10", "2026-10-24T20:00", "2026-10-25T00:10",
    "2026-10-25T01:10", "2026-03-07T20:00", "2026-10-31T20:00", "2026-11-01T06:10",
]  # fmt: skip
"""Around the changes of clocks in Europe and in America, in and between equal hours."""


def test_62_cron_times_are_nodes_over_changes_of_clocks(node: NodeDriver) -> None:
    starts = [datetime.fromisoformat(one).replace(tzinfo=UTC).timestamp() * 1000 for one in STARTS]
    cases = [
        {"pattern": pattern, "tz": zone, "at": round(at)}
        for pattern in PATTERNS
        for zone in ZONES
        for at in starts
    ]
    parts = [cases[first : first + PER_CALL] for first in range(0, len(cases), PER_CALL)]
    expected = [times for part in parts for times in node.call("cronTimes", cases=part, count=8)]
    differing = [
        (case, mine, theirs)
        for case, theirs in zip(cases, expected, strict=True)
        if (mine := _times(case, 8)) != theirs
    ]
    assert differing == []


def _times(case: dict[str, Any], count: int) -> list[int | None]:
    times: list[int | None] = []
    at_ms = case["at"]
    for _ in range(count):
        at_ms = next_match(case["pattern"], case["tz"], at_ms)
        times.append(at_ms)
    return times


SCHEDULES: dict[str, dict[str, Any]] = {
    "every": {"every": HOUR_MS},
    "every-with-offset": {"every": HOUR_MS, "offset": 1000},
    "every-limited": {"every": HOUR_MS, "limit": 5},
    "pattern": {"pattern": "30 2 * * *", "tz": "Europe/Berlin"},
    "pattern-until": {"pattern": "0 0 1 1 *", "endDate": 4_102_444_800_000},
}
TEMPLATE = {
    "name": "echo",
    "data": {"a": 1},
    "opts": {"attempts": 2, "priority": 3, "removeOnFail": {"count": 5}, "keepLogs": 0.5},
}
BARE = {"name": "echo", "data": {}}
DEDUPLICATED = {"name": "echo", "data": [], "opts": {"deduplication": {"id": "d", "ttl": 5000}}}


@dataclass(frozen=True)
class Stage:
    """Node, its server, and a queue that nobody else uses."""

    node: NodeDriver
    client: redis.Redis
    url: str
    queue: str

    @property
    def base(self) -> str:
        """Of the queue's keys."""
        return f"bull:{self.queue}:"

    def upsert(self, repeat: dict[str, Any], **template: Any) -> str:
        """Define the schedule `s`; the id of its first job, made runnable."""
        job_id = self.node.call(
            "upsertScheduler",
            queue=self.queue,
            id="s",
            repeat=repeat,
            template={"name": "echo", "data": {}} | template,
        )
        if self.client.zscore(f"{self.base}delayed", job_id):
            self.node.call("onJob", queue=self.queue, id=job_id, act="promote")
        return job_id

    def ended(self, name: str = "completed", count: int = 1) -> bool:
        """Have so many jobs ended?"""
        return self.client.zcard(self.base + name) >= count

    def work(self) -> TorilRun:
        """toril's worker; a context manager."""
        return TorilRun(self.queue, PROCESSORS, self.url)

    def current_ms(self) -> int:
        """The slot that the schedule waits for."""
        return int(self.client.zscore(f"{self.base}repeat", "s"))

    def iterations(self) -> list[int]:
        """The slots of all jobs that are there."""
        found = self.client.keys(f"{self.base}repeat:s:*")
        return sorted(int(key.rsplit(b":", 1)[1]) for key in found if key.count(b":") == 4)


@pytest.fixture
def stage(node: NodeDriver, redis_client: redis.Redis, redis_url: str, queue_name: str) -> Stage:
    return Stage(node, redis_client, redis_url, queue_name)


@pytest.mark.parametrize("case", SCHEDULES)
@pytest.mark.parametrize(
    "template",
    [TEMPLATE, {"name": "nothing"}, DEDUPLICATED],
    ids=["full", "bare", "deduplicated"],
)
def test_61_62_successor_is_the_one_that_nodes_worker_makes(
    case: str, template: dict[str, Any], stage: Stage
) -> None:
    """Key by key: the job, its place, the definition and the order of the events."""
    views = []
    for by_node in (True, False):
        here = replace(stage, queue=f"{stage.queue}-{'n' if by_node else 't'}")
        here.upsert(SCHEDULES[case], **template)
        if by_node:
            stage.node.call("startWorker", queue=here.queue)
            until(here.ended)
            stage.node.call("stopWorker")
        else:
            with here.work():
                until(here.ended)
        views.append(_view(stage.client, here.queue))
    assert views[1] == views[0]


@BOTH_MAJORS_IN_FULL
def test_61_every_second_ten_times_at_the_right_slots(stage: Stage) -> None:
    with stage.work() as run:
        run.wait_for("worker-started")  # A slot that passes before the first claim is left out.
        first = stage.upsert({"every": 500})
        until(lambda: stage.ended(count=10))
    slots = stage.iterations()
    start_ms = int(first.rsplit(":", 1)[1])
    assert slots == [start_ms + 500 * at for at in range(len(slots))]
    assert stage.client.zcard(f"{stage.base}delayed") == 1
    assert stage.current_ms() == slots[-1]
    assert int(stage.client.hget(f"{stage.base}repeat:s", "ic")) == len(slots)


@pytest.mark.parametrize("repeat", [{"every": 100}, {"pattern": "* * * * * *"}], ids=str)
def test_64_limit_is_kept(stage: Stage, repeat: dict[str, Any]) -> None:
    stage.upsert(repeat | {"limit": 3})
    with stage.work() as run:
        until(lambda: stage.ended(count=3))
        time.sleep(0.3)
        assert len(run.found("job-settled")) == 3
    assert len(stage.iterations()) == 3
    assert stage.client.zcard(f"{stage.base}delayed") == 0


@pytest.mark.parametrize("repeat", [{"every": 1000}, {"pattern": "* * * * * *"}], ids=str)
def test_65_no_job_follows_beyond_the_end(stage: Stage, repeat: dict[str, Any]) -> None:
    with stage.work() as run:
        run.wait_for("worker-started")  # Or the end may come before the first claim.
        end_ms = stage.client.time()[0] * 1000 + 2000
        stage.upsert(repeat | {"endDate": end_ms})
        until(lambda: stage.client.time()[0] * 1000 > end_ms + 1000)
    assert stage.ended()
    assert stage.client.zcard(f"{stage.base}delayed") == 0
    assert stage.iterations()[-1] <= end_ms + 1000


@pytest.mark.parametrize("repeat", [{"every": 400}, {"pattern": "* * * * * *"}], ids=str)
def test_65_no_job_runs_before_the_start(stage: Stage, repeat: dict[str, Any]) -> None:
    start_ms = stage.client.time()[0] * 1000 + 1000
    repeat = repeat | {"startDate": start_ms}
    stage.node.call("upsertScheduler", queue=stage.queue, id="s", repeat=repeat, template=BARE)
    with stage.work():
        until(lambda: stage.ended(count=2))
    starts = [
        int(stage.client.hget(f"{stage.base}repeat:s:{at_ms}", "processedOn") or 0)
        for at_ms in stage.iterations()
    ]
    assert min(start for start in starts if start) >= start_ms
    assert stage.iterations()[0] >= start_ms


def test_66_retry_makes_no_second_successor(stage: Stage) -> None:
    job_id = stage.upsert({"every": HOUR_MS}, name="fail", opts={"attempts": 3})
    with stage.work():
        until(lambda: stage.ended("failed"))
    assert stage.client.hget(stage.base + job_id, "atm") == b"3"
    assert len(stage.iterations()) == 2
    assert stage.client.zcard(f"{stage.base}delayed") == 1


def test_67_missed_slots_are_one_run_and_then_the_next_slot(stage: Stage) -> None:
    """As if nobody had worked for five and a half periods."""
    every_ms = HOUR_MS
    job_id = stage.upsert({"every": every_ms})
    first_ms = int(job_id.rsplit(":", 1)[1])
    old_ms = first_ms - 5 * every_ms - every_ms // 2
    stage.client.rename(stage.base + job_id, f"{stage.base}repeat:s:{old_ms}")
    stage.client.zadd(f"{stage.base}repeat", {"s": old_ms})
    stage.client.lrem(f"{stage.base}wait", 0, job_id)
    stage.client.lpush(f"{stage.base}wait", f"repeat:s:{old_ms}")
    with stage.work():
        until(stage.ended)
    assert stage.client.zcard(f"{stage.base}completed") == 1
    offset_ms = int(stage.client.hget(f"{stage.base}repeat:s", "offset"))
    current_ms = stage.current_ms()
    now_ms = stage.client.time()[0] * 1000
    assert now_ms - 1000 < current_ms <= now_ms + every_ms + 1000
    assert current_ms % every_ms == offset_ms % every_ms


def test_68_same_interval_keeps_the_slot_and_another_one_runs_at_once(stage: Stage) -> None:
    """Defined anew by Node while toril carries it on."""
    stage.upsert({"every": HOUR_MS})
    with stage.work():
        until(stage.ended)
        slot_ms = stage.current_ms()
        again = {"queue": stage.queue, "id": "s", "template": BARE}
        kept = stage.node.call("upsertScheduler", repeat={"every": HOUR_MS}, **again)
        assert kept == f"repeat:s:{slot_ms}"
        assert (stage.current_ms(), stage.iterations()[-1]) == (slot_ms, slot_ms)

        stage.node.call("upsertScheduler", repeat={"every": 2 * HOUR_MS}, **again)
        until(lambda: stage.ended(count=2))
    assert stage.client.zcard(f"{stage.base}delayed") == 1
    assert stage.current_ms() == stage.iterations()[-1] == stage.iterations()[-2] + 2 * HOUR_MS


def test_69_schedule_that_is_removed_while_its_job_runs_has_no_more(stage: Stage) -> None:
    stage.upsert({"every": 3000}, name="slow", data={"ms": 1500})
    with stage.work():
        until(lambda: stage.client.llen(f"{stage.base}active"))
        args = ["s"]
        stage.node.call("onQueue", queue=stage.queue, act="removeJobScheduler", args=args)
        until(stage.ended)
    assert stage.node.call("schedulers", queue=stage.queue) == []
    assert stage.client.zcard(f"{stage.base}delayed") == 0
    assert len(stage.iterations()) == 1


def test_pattern_that_cannot_be_read_fails_the_job_with_the_reason(stage: Stage) -> None:
    job_id = stage.upsert({"pattern": "0 0 1 1 *"})
    opts = json.loads(stage.client.hget(stage.base + job_id, "opts"))
    opts["repeat"] |= {"pattern": "every now and then", "tz": "UTC"}
    stage.client.hset(stage.base + job_id, "opts", json.dumps(opts))
    with stage.work():
        until(lambda: stage.ended("failed"))
    reason = stage.client.hget(stage.base + job_id, "failedReason")
    assert b"cron pattern 'every now and then'" in reason


def _view(client: redis.Redis, queue: str) -> dict[str, Any]:
    """The queue with times as places in their order, and without what an idle worker leaves."""
    view = queue_view(client, queue)
    for passing in ("marker", "stalled-check"):
        view.pop(passing, None)
    kind, events, expires = view["events"]
    view["events"] = (kind, [one for one in events if one["event"] != "drained"], expires)
    if view["repeat:s"][1].get("offset") not in {"0", "1000"}:
        view["repeat:s"][1]["offset"] = "made from the first slot"
    for _kind, fields, _expires in view.values():
        if isinstance(fields, dict):
            for name in fields.keys() & {"processedOn", "finishedOn", "pb"}:
                fields[name] = "any"
            _forget_times(fields)
    text = json.dumps(view, default=sorted, sort_keys=True)
    return json.loads(_without_times(text))


def _forget_times(fields: dict[str, Any]) -> None:
    for name in fields.keys() & {"timestamp", "delay"}:
        fields[name] = "some" if int(fields[name]) else "none"
    opts = fields.get("opts")
    for name in opts.keys() & {"timestamp", "delay"} if isinstance(opts, dict) else ():
        opts[name] = "some" if opts[name] else "none"


def _without_times(text: str) -> str:
    """Times and scores named in the order of their size: two runs are moments apart."""
    numbers = sorted({int(float(n)) for n in re.findall(r"\d{13,}(?:\.\d+)?", text)})
    names = {number: str(9000 + at) for at, number in enumerate(numbers)}
    return re.sub(r"\d{13,}(?:\.\d+)?", lambda m: f"{names[int(float(m[0]))]}", text)
