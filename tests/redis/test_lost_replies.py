"""Calls that Redis executed and whose reply was lost: repeated as production does, they leave what
one undisturbed call leaves. Every script that writes has a case here.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fault_proxy import FaultProxy
from tests.support.keyspace import Entry, snapshot
from tests.support.lane import LOCK_MS, RAISED, RETURNED, Lane
from toril.call import Outcome, Verdict
from toril.errors import RedisUnavailable, TorilError
from toril.runtime import changing, dependencies, publishing
from toril.runtime.asking import Ask, Asked, Cancellation
from toril.runtime.claim import ClaimRequest, Marker, Renewed, Report
from toril.runtime.dialog import send
from toril.runtime.fleet import beat_all
from toril.runtime.limiter import RateLimit
from toril.runtime.newjob import NewJob
from toril.runtime.producing import Producer
from toril.runtime.queue import AsyncQueue
from toril.runtime.retry import (
    Complete,
    Counts,
    Delay,
    Fail,
    GiveBack,
    Hold,
    Retry,
    WaitForChildren,
)
from toril.runtime.scripts import script, script_names
from toril.runtime.settling import Settled
from toril.runtime.store import Ending, Store
from toril.runtime.ties import Parent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.support.servers import RedisServer
    from toril.runtime.claim import Claim
    from toril.runtime.dialog import Program
    from toril.runtime.retry import Settlement

WRITING = [name for name in script_names() if "flags=no-writes" not in script(name).text]
WANT = ClaimRequest(2, LOCK_MS)


@dataclass(frozen=True)
class Line:
    """One way to Redis through the proxy, warm: the supervisor's store and a producer's queue."""

    store: Store
    queue: AsyncQueue
    claim: Claim

    async def insist(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Once more after an error, as a worker does once it reaches Redis again."""
        try:
            return await call()
        except RedisUnavailable:
            return await call()

    async def settle(self, settlement: Settlement, outcome: Outcome) -> None:
        ending = Ending(self.claim, settlement, outcome)
        back = await self.insist(lambda: self.store.exchange(endings=[ending]))
        assert back.endings[0] in {Settled.DONE, Settled.ALREADY}

    async def say(self) -> None:
        said = Report(self.claim, b'{"at":1}', ("a", "b"), b'{"x":2}', "File x.py")
        back = await self.insist(lambda: self.store.exchange([said]))
        assert back.reports == [Settled.DONE]
        newer = replace(said, log_lines=("c",))
        assert (await self.store.exchange([newer])).reports == [Settled.DONE]

    async def take(self) -> None:
        try:
            back = await self.store.exchange(want=WANT)
        except RedisUnavailable:
            assert [claim.id for claim in await self.store.adopt()] == ["a", "b"]
        else:
            assert [claim.id for claim in back.claimed.claims] == ["a", "b"]

    async def renew(self) -> None:
        assert await self.insist(lambda: self.store.renew([self.claim], LOCK_MS)) == Renewed()

    async def sweep(self) -> None:
        await self.insist(lambda: self.store.sweep(1, 30_000))

    async def put_back(self) -> None:
        await self.insist(lambda: self.store.put_back(Marker("0", 0)))

    async def answer(self) -> None:
        ask = Ask(Asked.STACK, "1", "0" * 32)
        await self.insist(lambda: self.store.answer_stack(ask, "File x.py"))

    async def beat(self) -> None:
        records = {self.queue._base: b'{"host":"h"}'}
        await self.queue._driver.run(beat_all(records, "0" * 32, LOCK_MS))

    async def add_many(self) -> None:
        await self.queue.add_bulk([NewJob("n", {"i": i}) for i in range(120)])


def on_job(
    program: Callable[..., Program[Any]], *args: Any, **options: Any
) -> Callable[[Line], Awaitable[Any]]:
    """An operation on one job, without reading it first."""
    return lambda line: line.queue._driver.run(program(line.queue._base, *args, **options))


CASES: dict[str, tuple[str, Callable[[Line], Awaitable[Any]]]] = {
    "pause": ("pause", lambda line: line.queue.pause()),
    "resume": ("resume", lambda line: line.queue.resume()),
    "drain": ("drain", lambda line: line.queue.drain()),
    "clean": ("clean", lambda line: line.queue.clean("0s", 2, "waiting")),
    "obliterate": ("obliterate", lambda line: line.queue.obliterate(force=True)),
    "promote all": ("promote_jobs", lambda line: line.queue.promote_jobs()),
    "retry all": ("retry_jobs", lambda line: line.queue.retry_jobs()),
    "promote one": ("promote_job", on_job(changing.promote, "later")),
    "retry one": ("retry_job", on_job(changing.retry, "broken")),
    "remove": ("remove", on_job(changing.remove, "a")),
    "change delay": ("change_delay", on_job(changing.change_delay, "later", "1h")),
    "change priority": ("change_priority", on_job(changing.change_priority, "b", 3)),
    "update data": ("update_data", on_job(changing.update_data, "b", {"n": 1})),
    "update progress": ("update_progress", on_job(changing.update_progress, "b", 50)),
    "log": ("add_log", on_job(changing.log, "b", "line")),
    "queue adds": ("add_one", lambda line: line.queue.add("n", {"x": 1}, job_id="x")),
    "queue adds for later": ("add", lambda line: line.queue.add("n", {"x": 1}, delay="60s")),
    "queue adds in bulk": ("add", Line.add_many),
    "queue adds a child": (
        "add_tied",
        lambda line: line.queue.add("n", {"x": 1}, parent=Parent("p", line.queue._base[:-1])),
    ),
    "job adds": ("add", lambda line: line.store.add("n", b"1", {"delay": "60s"})),
    "answer": ("answer_stack", Line.answer),
    "beat": ("beat", Line.beat),
    "cancel a waiting job": ("cancel", lambda line: line.queue.cancel("a")),
    "cancel a running job": ("cancel", lambda line: line.queue.cancel("1")),
    "claim": ("claim", Line.take),
    "complete": ("complete", lambda line: line.settle(Complete(metrics_size=5), RETURNED)),
    "delay": ("delay", lambda line: line.settle(Delay(60_000), Outcome(Verdict.DELAYED))),
    "fail": ("fail", lambda line: line.settle(Fail("boom", metrics_size=5), RAISED)),
    "give back": ("give_back", lambda line: line.settle(GiveBack(), Outcome(Verdict.LOST))),
    "hold": ("hold", lambda line: line.settle(Hold(60_000), Outcome(Verdict.RATE_LIMITED))),
    "set a limit": ("limit", lambda line: line.queue.set_rate_limit(5, "1s")),
    "offer a limit": (
        "limit",
        lambda line: line.insist(lambda: line.store.configure_limit(RateLimit(5, 1000, 5))),
    ),
    "remove a limit": ("limit", lambda line: line.queue.remove_rate_limit()),
    "marker": ("put_back_marker", Line.put_back),
    "renew": ("renew", Line.renew),
    "report": ("report", Line.say),
    "retry": ("retry", lambda line: line.settle(Retry("boom", 0), RAISED)),
    "retry after a crash": (
        "retry",
        lambda line: line.settle(Retry("boom", 60_000, Counts.CRASH), RAISED),
    ),
    "untie": ("remove_child_dependency", on_job(dependencies.remove_child_dependency, "c")),
    "remove unprocessed": (
        "remove_unprocessed",
        on_job(dependencies.remove_unprocessed_children, "p"),
    ),
    "publish": (
        "publish_event",
        lambda line: line.queue._driver.run(
            publishing.publish_event(line.queue._base, "paid", {"n": 1})
        ),
    ),
    "release a deduplication id": (
        "remove_deduplication",
        lambda line: line.queue.remove_deduplication_key("d"),
    ),
    "sweep": ("sweep", Line.sweep),
    "wait for children": (
        "wait_for_children",
        lambda line: line.settle(WaitForChildren(), Outcome(Verdict.WAITING_CHILDREN)),
    ),
}

UNSEEN = {"marker", "renew", "remove a limit"}
"""Cases whose effect is a longer lock, or what was there already."""


def test_every_script_that_writes_has_a_case() -> None:
    assert {name for name, _act in CASES.values()} == set(WRITING)


@pytest.fixture
def proxy(redis_server: RedisServer, tmp_path: Path) -> Iterator[FaultProxy]:
    with FaultProxy(redis_server.socket_path, tmp_path) as proxy:
        yield proxy


@asynccontextmanager
async def warm_line(lane: Lane, proxy: FaultProxy) -> AsyncIterator[Line]:
    """Jobs in every state, and connections on which nothing but the call under test is sent."""
    lane.client.flushall()
    lane.tokens.clear()
    lane.claim_new("abandoned")
    lane.client.sadd(lane.key("stalled"), "abandoned")
    lane.client.delete(lane.key("abandoned:lock"))
    lane.client.hset(lane.key("1:processed"), lane.key("child"), "1")
    lane.client.set(lane.key("de:d"), "a")
    held = lane.claim_new("1", opts='{"attempts":3}')
    for job_id in ("a", "b", "c"):
        lane.wait(job_id)
    lane.delay("later", lane.now_ms + 10**9)
    lane.client.hset(lane.key("c"), "parentKey", lane.key(lane.store("p")))
    lane.client.sadd(lane.key("p:dependencies"), lane.key("b"), lane.key("c"))
    lane.client.zadd(lane.key("waiting-children"), {"p": 1})
    lane.client.zadd(lane.key("failed"), {lane.store("broken", failedReason="x"): 1})
    store = Store(proxy.url, "bull", "lane", worker_name="w")
    try:
        await store.open()
        await store._driver.run(Producer("lane").counts())
        async with AsyncQueue("lane", redis=proxy.url) as queue:
            await queue.counts()
            await queue._driver.run(send([("PING",), ("PING",)]))
            yield Line(store, queue, held)
    finally:
        await store.close()


_TIME = re.compile(rb"\d{13,}")
_NAME = re.compile(rb"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:\d+")


def left(lane: Lane) -> dict[str, Any]:
    """The keyspace without what two runs cannot share: times, tokens, entry ids."""
    return {
        _without(name.encode()).decode(): _said(one) for name, one in snapshot(lane.client).items()
    }


def _said(entry: Entry) -> Any:
    match entry.kind:
        case "stream":
            value = [_pairs(fields) for _entry_id, fields in entry.value]
        case "hash":
            value = _pairs(entry.value)
        case "zset":
            value = {m: "a time" if score > 1e12 else score for m, score in entry.value.items()}
        case "string":
            value = _without(entry.value)
        case _:
            value = entry.value
    return entry.kind, value, entry.expires


def _pairs(fields: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {name: _without(value) for name, value in fields.items()}


def _without(raw: bytes) -> bytes:
    return _TIME.sub(b"TIME", _NAME.sub(b"NAME", raw))


@pytest.mark.parametrize("fault", ["cut", "cut_in_reply"])
@pytest.mark.parametrize("case", CASES)
async def test_call_whose_reply_is_lost_leaves_what_one_call_leaves(
    lane: Lane, proxy: FaultProxy, case: str, fault: str
) -> None:
    name, act = CASES[case]
    async with warm_line(lane, proxy) as line:
        lane.client.config_resetstat()
        await act(line)
        undisturbed, calls = left(lane), executed(lane)
    async with warm_line(lane, proxy) as line:
        before = left(lane)
        getattr(proxy, fault)()
        lane.client.config_resetstat()
        await act(line)
        disturbed = left(lane)
    assert proxy.were_cut == 1
    assert disturbed == undisturbed
    assert executed(lane) > calls, f"{name} was not repeated: the case proves nothing"
    assert before != undisturbed or case in UNSEEN


def executed(lane: Lane) -> int:
    return int(lane.client.info("commandstats")["cmdstat_evalsha"]["calls"])


async def test_claim_is_found_again_and_never_made_twice(lane: Lane, proxy: FaultProxy) -> None:
    async with warm_line(lane, proxy) as line:
        proxy.cut()
        with pytest.raises(RedisUnavailable):
            await line.store.exchange(want=WANT)
        assert line.store.has_unconfirmed
        adopted = await line.store.adopt()
        claimed = (await line.store.exchange(want=WANT)).claimed
    assert claimed is not None
    assert not isinstance(claimed, TorilError)
    assert [claim.id for claim in adopted] == ["a", "b"]
    assert [claim.id for claim in claimed.claims] == ["c"]
    assert lane.job("a")["ats"] == "1"


async def test_claim_of_a_schedules_job_adds_one_successor(lane: Lane, proxy: FaultProxy) -> None:
    async with warm_line(lane, proxy) as line:
        at_ms = lane.now_ms
        lane.client.delete(lane.key("wait"))
        lane.client.hset(lane.key("repeat:s"), mapping={"name": "n", "every": 10**9, "ic": 1})
        lane.client.zadd(lane.key("repeat"), {"s": at_ms})
        current = lane.wait(f"repeat:s:{at_ms}", rjk="s", opts='{"repeat":{"every":1000000000}}')
        proxy.cut()
        with pytest.raises(RedisUnavailable):
            await line.store.exchange(want=WANT)
        adopted = await line.store.adopt()
        await line.store.exchange(want=WANT)
    assert [claim.id for claim in adopted] == [current]
    assert lane.job("repeat:s")["ic"] == "2"
    assert [job_id for job_id in lane.ids("delayed") if job_id.startswith("repeat:")] == [
        f"repeat:s:{int(lane.scores('repeat')['s'])}"
    ]


async def test_whole_round_trip_is_repeated_safely(lane: Lane, proxy: FaultProxy) -> None:
    """Reports, settlements and a claim in one pipeline, which is how a worker sends them."""
    async with warm_line(lane, proxy) as line:
        (other,) = lane.claim().claims
        said = Report(other, b"1", ("a",))
        ending = Ending(line.claim, Complete(), RETURNED)
        proxy.cut()
        with pytest.raises(RedisUnavailable):
            await line.store.exchange([said], [ending], WANT)
        adopted = await line.store.adopt()
        longer = replace(said, log_lines=("a", "b"))
        back = await line.store.exchange([longer], [ending])
    assert [claim.id for claim in adopted] == ["b", "c"]
    assert (back.reports, back.endings) == ([Settled.DONE], [Settled.ALREADY])
    assert lane.client.lrange(lane.key("a:logs"), 0, -1) == [b"a", b"b"]
    assert lane.event_names().count("completed") == 1
    assert lane.event_names().count("progress") == 1


async def test_batch_of_endings_is_repeated_safely(lane: Lane, proxy: FaultProxy) -> None:
    """Each of them by its own token."""
    async with warm_line(lane, proxy) as line:
        for job_id in ("x", "y", "z"):
            lane.wait(job_id)
        claims = [line.claim, *lane.claim(2).claims]
        endings = [Ending(claim, Complete(metrics_size=5), RETURNED) for claim in claims]
        proxy.cut()
        with pytest.raises(RedisUnavailable):
            await line.store.exchange(endings=endings)
        once = snapshot(lane.client)
        back = await line.store.exchange(endings=endings)
    assert back.endings == [Settled.ALREADY] * 3
    assert snapshot(lane.client) == once
    assert lane.event_names().count("completed") == 3


async def test_cancelled_and_removed_job_is_gone_when_it_is_asked_for_again(
    lane: Lane, proxy: FaultProxy
) -> None:
    """The one answer that a lost reply changes: nothing is left that could tell."""
    async with warm_line(lane, proxy) as line:
        lane.wait("x", opts='{"removeOnFail":true}')
        proxy.cut()
        assert await line.queue.cancel("x") is Cancellation.GONE
