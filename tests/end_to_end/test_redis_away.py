"""Redis killed, restarted, emptied of scripts, its connections cut: work goes on by itself."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support.toril import TorilRun
from toril import NewJob, Queue

if TYPE_CHECKING:
    from pathlib import Path

PROCESSORS = "tests.end_to_end.processors:processors"


def words(ledger: Path) -> list[list[str]]:
    return [line.split() for line in ledger.read_text().splitlines()] if ledger.exists() else []


def run(url: str, *flags: str) -> TorilRun:
    return TorilRun("away", PROCESSORS, url, "--concurrency", "2", *flags).ready()


@pytest.mark.servers("valkey", "redis7")
def test_kill_9_of_redis_in_mid_work_loses_nothing(private_server, server_kind, tmp_path):
    """With an append-only file; the ledger outside Redis says what ran."""
    server = private_server(server_kind)
    ledger = tmp_path / "ledger"
    with Queue("away", redis=server.url) as queue, run(server.url) as toril:
        jobs = queue.add_bulk(
            NewJob("work", {"seconds": 0.02, "ledger": str(ledger)}) for _ in range(100)
        )
        toril.wait_until(lambda: len(words(ledger)), lambda lines: lines > 20, 20)
        server.kill()
        toril.wait_for("redis-lost")
        time.sleep(0.3)
        server.start()
        toril.wait_for("redis-back")
        toril.wait_until(queue.counts, lambda counts: counts["completed"] == 100, 30)
        counts = queue.counts()
        stalls = [queue.get_job(job.id).stalls for job in jobs]

    assert counts["completed"] == 100
    assert counts["failed"] == counts["active"] == counts["waiting"] == 0
    finished = Counter(job_id for word, job_id, *_ in words(ledger) if word == "finished")
    assert set(finished) == {job.id for job in jobs}
    assert sum(stalls) == 0


def test_job_that_runs_through_an_outage_longer_than_its_lock_runs_once(private_server, tmp_path):
    server = private_server()
    ledger = tmp_path / "ledger"
    flags = ("--lock-duration", "1s", "--stalled-interval", "300ms")
    with Queue("away", redis=server.url) as queue, run(server.url, *flags) as toril:
        job = queue.add("nap", {"seconds": 4, "ledger": str(ledger)})
        toril.wait_until(lambda: len(words(ledger)), lambda lines: lines == 1, 10)
        server.kill()
        toril.wait_for("redis-lost")
        time.sleep(2)
        server.start()
        assert job.wait(timeout="20s")

        ended = queue.get_job(job.id)
        assert (ended.attempts_started, ended.stalls) == (1, 0)
    assert [word for word, *_ in words(ledger)] == ["started", "finished"]


def test_flushed_scripts_are_loaded_again(redis_url, redis_client):
    with Queue("away", redis=redis_url) as queue, run(redis_url):
        assert queue.add("echo", 1).wait(timeout="10s") == 1
        redis_client.script_flush()
        assert queue.add("echo", 2).wait(timeout="10s") == 2


def test_killed_connections_come_back(redis_url, redis_client):
    with Queue("away", redis=redis_url) as queue, run(redis_url):
        for number in range(5):
            assert queue.add("echo", number).wait(timeout="10s") == number
            redis_client.client_kill_filter(_type="normal", skipme=True)


def test_full_server_takes_results_and_refuses_adds(private_server, tmp_path):
    """What moves an existing job is let through, or a full server could never empty."""
    server = private_server(options=("--maxmemory-policy", "noeviction"))
    ledger = tmp_path / "ledger"
    with Queue("away", redis=server.url) as queue, run(server.url) as toril:
        jobs = queue.add_bulk(
            NewJob("work", {"seconds": 0.3, "ledger": str(ledger)}) for _ in range(6)
        )
        toril.wait_until(lambda: len(words(ledger)), lambda lines: lines >= 1, 10)
        with server.connect() as client:
            client.config_set("maxmemory", 1)
            with pytest.raises(Exception, match=r"(?i)memory"):
                queue.add("echo", 1)
            toril.wait_until(queue.counts, lambda counts: counts["completed"] == 6, 20)
            client.config_set("maxmemory", 0)
        assert {queue.get_job(job.id).attempts_started for job in jobs} == {1}
