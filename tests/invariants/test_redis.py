"""Invariants 3, 4, 11, 12 and 13: what holds between a worker and Redis, whatever becomes of it."""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from tests.end_to_end.test_locks import block_for_three_locks
from tests.invariants.stage import ORDINARY, QUEUE, active, ended, run, words
from tests.support.fault_proxy import FaultProxy
from tests.support.toril import TorilRun
from tests.support.waiting import until
from toril import NewJob, Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.servers import RedisServer

LOCK_MS = 1000
FAST = ("--lock-duration", f"{LOCK_MS}ms", "--stalled-interval", "300ms")
BASE = f"bull:{QUEUE}:"


def rest_of_locks(url: str, count: int, stop: threading.Event) -> list[int]:
    """Milliseconds that the locks of jobs 1 to `count` still held, as seen every 20 ms."""
    seen = []
    with redis.Redis.from_url(url) as client:
        while not stop.wait(0.02):
            seen += [client.pttl(f"{BASE}{number}:lock") for number in range(1, count + 1)]
    return [rest_ms for rest_ms in seen if rest_ms != -2]


def test_invariant_03_every_lock_is_renewed_before_half_its_time_is_over(redis_url):
    """Four children that block in C with the GIL held for three locks; one command renews all."""
    stop = threading.Event()
    rests: list[int] = []
    sampler = threading.Thread(target=lambda: rests.extend(rest_of_locks(redis_url, 4, stop)))
    with (
        Queue(QUEUE, redis=redis_url) as queue,
        run(redis_url, *FAST, processor=ORDINARY, concurrency=4) as toril,
    ):
        jobs = queue.add_bulk(NewJob("block", {"seconds": 3 * LOCK_MS / 1000}) for _ in range(4))
        active(queue, toril, 4)
        sampler.start()
        with redis.Redis.from_url(redis_url) as client:
            before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
            time.sleep(2 * LOCK_MS / 1000)
            calls = client.info("commandstats")["cmdstat_evalsha"]["calls"] - before
        for job in jobs:
            assert job.wait(timeout="20s") >= 3
        stop.set()
        sampler.join()
        assert {queue.get_job(job.id).attempts_started for job in jobs} == {1}
    assert len(rests) > 100
    assert min(rests) > LOCK_MS / 2
    assert calls < 4 * 2 * 4, "renewed job by job, not in batches"


def test_invariant_03_a_job_that_blocks_for_three_locks_runs_exactly_once(redis_url, tmp_path):
    """Two workers; the same proof fails without renewal (tests/end_to_end/test_locks.py)."""
    evidence = block_for_three_locks(redis_url, tmp_path / "ledger", ("-m", "toril", "run"))
    assert evidence.proves_it, evidence


def test_invariant_04_a_lost_lock_kills_the_child_and_refuses_its_result(
    redis_url, redis_client, tmp_path
):
    ledger = tmp_path / "ledger"
    with (
        Queue(QUEUE, redis=redis_url) as queue,
        run(redis_url, *FAST, processor=ORDINARY) as toril,
    ):
        job = queue.add("nap", {"seconds": 2, "ledger": str(ledger)})
        active(queue, toril)
        redis_client.set(f"{BASE}{job.id}:lock", "somebody else's", px=60_000)
        toril.wait_for("lock-lost", job_id=job.id)
        until(lambda: queue.add("echo", 1).wait(timeout="10s"))
        time.sleep(1)
        seen = queue.get_job(job.id)
        assert (seen.state(), seen.returnvalue, seen.attempts_made) == ("active", None, 0)
        assert redis_client.get(f"{BASE}{job.id}:lock") == b"somebody else's"
    assert words(ledger) == ["started"]


@pytest.mark.parametrize("start", ["the same", "another"])
def test_invariant_04_an_absent_lock_is_retaken_only_for_the_same_start(
    private_server, tmp_path, start
):
    """The lock ran out while Redis was frozen; in the second case somebody started the job anew."""
    server = private_server()
    ledger = tmp_path / "ledger"
    with (
        Queue(QUEUE, redis=server.url) as queue,
        run(server.url, *FAST, processor=ORDINARY) as toril,
        server.connect() as client,
    ):
        job = queue.add("nap", {"seconds": 1.5, "ledger": str(ledger)})
        active(queue, toril)
        with client.pipeline(transaction=True) as pipe:
            pipe.delete(f"{BASE}{job.id}:lock")
            if start == "another":
                pipe.hincrby(f"{BASE}{job.id}", "ats", 1)
            pipe.execute()
        if start == "the same":
            assert ended(queue, toril, job).state() == "completed"
            assert words(ledger) == ["started", "finished"]
        else:
            toril.wait_for("lock-lost", job_id=job.id)
            assert words(ledger) == ["started"]


def test_invariant_04_a_claim_that_is_answered_after_its_lock_is_looked_at_before_it_runs(
    redis_server, redis_client, tmp_path
):
    """What comes so late may be another worker's job by now; to start it would run it twice."""
    ledger = tmp_path / "ledger"
    with (
        FaultProxy(redis_server.socket_path, tmp_path) as way,
        Queue(QUEUE, redis=redis_server.url) as queue,
        run(way.url, *FAST, processor=ORDINARY) as toril,
    ):
        way.delay(1.5 * LOCK_MS / 1000)
        job = queue.add("echo", {"ledger": str(ledger)})
        active(queue, toril)
        way.heal()  # The answer that is on its way stays late.
        redis_client.set(f"{BASE}{job.id}:lock", "somebody else's", px=60_000)
        toril.wait_for("lock-lost", job_id=job.id)
    assert words(ledger) == []


@pytest.mark.parametrize("verb", ["cut", "cut_in_reply"])
def test_invariant_11_calls_whose_reply_was_lost_are_repeated_safely(redis_server, tmp_path, verb):
    """Adds, claims, renewals, settlements: every few milliseconds a reply is lost on the way.

    Script by script this is proved in tests/redis/test_lost_replies.py.
    """
    ledger = tmp_path / "ledger"
    folders = [tmp_path / "worker", tmp_path / "producer"]
    for folder in folders:
        folder.mkdir()
    with (
        FaultProxy(redis_server.socket_path, folders[0]) as worker_way,
        FaultProxy(redis_server.socket_path, folders[1]) as producer_way,
        Queue(QUEUE, redis=producer_way.url) as producer,
        Queue(QUEUE, redis=redis_server.url) as queue,
        run(worker_way.url, processor=ORDINARY, concurrency=3) as toril,
    ):
        for number in range(60):
            if number % 10 == 0:
                toril.wait_until(queue.counts, lambda c, n=number: c["completed"] == n, 30)
                getattr(worker_way, verb)()
            if number % 4 == 0:
                getattr(producer_way, verb)()
            producer.add("echo", {"ledger": str(ledger), "n": number})
        toril.wait_until(queue.counts, lambda counts: counts["completed"] == 60, 30)
        counts = queue.counts()
        found = [queue.get_job(str(number)) for number in range(1, 61)]
    assert worker_way.were_cut == 6
    assert producer_way.were_cut == 15
    assert sum(counts.values()) == 60
    assert {job.attempts_started for job in found} == {1}
    assert sorted(job.data["n"] for job in found) == list(range(60))
    assert sorted(words(ledger)) == ["finished"] * 60 + ["started"] * 60


@pytest.mark.parametrize("off_s", [-3600, 3600])
def test_invariant_12_time_comes_from_the_server_and_never_from_a_worker(
    redis_url, redis_client, monkeypatch, off_s
):
    """A worker an hour off: locks hold as long as they should, delays and limits are kept."""
    monkeypatch.setenv("TEST_CLOCK_OFF_S", str(off_s))
    command = ("-m", "tests.invariants.wrong_clock", "run")
    flags = ("--concurrency", "2", "--rate-limit", "5/1s", "--burst", "1", *FAST)
    with Queue(QUEUE, redis=redis_url) as queue:
        with TorilRun(QUEUE, ORDINARY, redis_url, *flags, command=command).ready() as toril:
            delayed = queue.add("echo", {}, delay="1500ms")
            never = queue.add("echo", {}, delay="30m")
            busy = queue.add("nap", {"seconds": 1.5})
            active(queue, toril)
            assert LOCK_MS / 2 < redis_client.pttl(f"{BASE}{busy.id}:lock") <= LOCK_MS
            quick = queue.add_bulk(NewJob("echo", {}) for _ in range(5))
            found = [ended(queue, toril, job) for job in (busy, delayed, *quick)]
        late = queue.get_job(never.id)
    assert {job.state() for job in found} == {"completed"}
    assert {(job.attempts_started, job.stalls) for job in found} == {(1, 0)}
    assert found[1].processed_on_ms >= delayed.timestamp_ms + 1500
    claimed = sorted(job.processed_on_ms for job in found)
    assert all(b - a >= 200 - 1 for a, b in itertools.pairwise(claimed))
    assert late.state() == "delayed"
    assert all(abs(job.finished_on_ms / 1000 - time.time()) < 60 for job in found)


@contextmanager
def down(server: RedisServer) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def read_only(server: RedisServer) -> Iterator[None]:
    """A failover made it a replica of a primary that cannot be reached."""
    with server.connect() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        yield
        client.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def out_of_memory(server: RedisServer) -> Iterator[None]:
    with server.connect() as client:
        client.config_set("maxmemory", 1)
        yield
        client.config_set("maxmemory", 0)


@contextmanager
def disk_full(server: RedisServer) -> Iterator[None]:
    """Saving fails, so that the server refuses writes (MISCONF), as it does on a full disk."""
    with server.connect() as client:
        dump = Path(client.config_get("dir")["dir"]) / "dump.rdb"
        client.config_set("save", "3600 1")
        dump.mkdir()
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        yield
        dump.rmdir()
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "ok")


@contextmanager
def frozen(server: RedisServer) -> Iterator[None]:
    server.freeze()
    yield
    server.thaw()


@pytest.mark.parametrize("harm", [down, read_only, out_of_memory, disk_full, frozen])
def test_invariant_13_a_finished_result_is_kept_until_redis_takes_it(
    private_server, tmp_path, harm: Callable[[RedisServer], Iterator[None]]
):
    """The job ends while Redis cannot take its result, and long after its lock has run out."""
    server = private_server()
    ledger = tmp_path / "ledger"
    with (
        Queue(QUEUE, redis=server.url) as queue,
        run(server.url, *FAST, processor=ORDINARY) as toril,
    ):
        job = queue.add("nap", {"seconds": 0.7, "ledger": str(ledger)})
        active(queue, toril)
        with harm(server):
            until(lambda: words(ledger) == ["started", "finished"])
            time.sleep(2 * LOCK_MS / 1000)
        found = ended(queue, toril, job)
    assert (found.state(), found.attempts_started, found.stalls) == ("completed", 1, 0)
    assert words(ledger) == ["started", "finished"]
