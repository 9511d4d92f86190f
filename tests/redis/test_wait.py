"""`job.wait()`: the result arrives however the job ends, whatever happens to Redis meanwhile."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.waiting import until
from toril.errors import JobFailed, JobGone, RedisUnavailable, WaitTimeout
from toril.runtime.queue import Queue


class Ender:
    """Ends jobs as a worker would, as far as a waiting client can see."""

    def __init__(self, client):
        self.client = client

    def completed(self, job_id, value, *, is_removed=False):
        with self.client.pipeline() as pipe:
            pipe.lrem("bull:mail:wait", 0, job_id)
            pipe.zadd("bull:mail:completed", {job_id: 1})
            pipe.hset(f"bull:mail:{job_id}", "returnvalue", json.dumps(value))
            event = {"event": "completed", "jobId": job_id, "returnvalue": json.dumps(value)}
            pipe.xadd("bull:mail:events", event)
            if is_removed:
                pipe.delete(f"bull:mail:{job_id}")
                pipe.zrem("bull:mail:completed", job_id)
            pipe.execute()

    def failed(self, job_id, reason):
        with self.client.pipeline() as pipe:
            pipe.lrem("bull:mail:wait", 0, job_id)
            pipe.zadd("bull:mail:failed", {job_id: 1})
            pipe.hset(f"bull:mail:{job_id}", "failedReason", reason)
            event = {"event": "failed", "jobId": job_id, "failedReason": reason}
            pipe.xadd("bull:mail:events", event)
            pipe.execute()


@pytest.fixture
def queue(redis_url):
    with Queue("mail", redis=redis_url) as one:
        yield one


@pytest.fixture
def ender(redis_client):
    return Ender(redis_client)


@pytest.fixture
def side():
    with ThreadPoolExecutor() as pool:
        yield pool


def blocked(client):
    """How many clients block on the stream."""
    return client.info("clients")["blocked_clients"]


def test_a_job_that_ended_before_is_known_at_once(queue, ender):
    done, broken = queue.add("a"), queue.add("b")
    ender.completed(done.id, {"x": [1]})
    ender.failed(broken.id, "boom")
    assert done.wait() == {"x": [1]}
    with pytest.raises(JobFailed, match="boom") as caught:
        broken.wait()
    assert (caught.value.job_id, caught.value.reason) == (broken.id, "boom")


@pytest.mark.parametrize("is_removed", [False, True], ids=["kept", "removed as it completes"])
def test_a_job_that_completes_while_waited_for(queue, ender, side, redis_client, is_removed):
    job = queue.add("a")
    waiting = side.submit(job.wait)
    until(lambda: blocked(redis_client))
    ender.completed("8", "another's")
    ender.completed(job.id, "mine", is_removed=is_removed)
    assert waiting.result(5) == "mine"


def test_a_job_that_fails_while_waited_for(queue, ender, side, redis_client):
    job = queue.add("a")
    waiting = side.submit(job.wait)
    until(lambda: blocked(redis_client))
    ender.failed(job.id, "boom")
    with pytest.raises(JobFailed, match="boom"):
        waiting.result(5)


def test_a_job_that_ended_and_was_removed_is_gone_at_once(queue, ender):
    job = queue.add("a")
    ender.completed(job.id, 1, is_removed=True)
    started = time.monotonic()
    with pytest.raises(JobGone):
        job.wait()
    assert time.monotonic() - started < 1


def test_a_job_that_vanishes_without_an_event_is_gone(queue, side, redis_client):
    job = queue.add("a")
    waiting = side.submit(job.wait)
    until(lambda: blocked(redis_client))
    redis_client.delete(f"bull:mail:{job.id}")
    with pytest.raises(JobGone):
        waiting.result(5)


def test_a_job_that_vanishes_from_a_busy_queue_is_gone(queue, side, redis_client):
    job = queue.add("a")
    waiting = side.submit(job.wait)
    until(lambda: blocked(redis_client))
    redis_client.delete(f"bull:mail:{job.id}")
    stop = threading.Event()

    def chatter():
        while not stop.wait(0.01):
            redis_client.xadd("bull:mail:events", {"event": "active", "jobId": "x"})

    side.submit(chatter)
    try:
        with pytest.raises(JobGone):
            waiting.result(5)
    finally:
        stop.set()


def test_a_job_that_does_not_end_in_time_goes_on(queue):
    job = queue.add("a")
    started = time.monotonic()
    with pytest.raises(WaitTimeout, match="goes on") as caught:
        job.wait("200ms")
    assert 0.2 <= time.monotonic() - started < 1
    assert caught.value.timeout_s == 0.2
    assert job.state() == "waiting"


def test_a_result_that_is_no_json_reads_as_nothing(queue, redis_client, side):
    job = queue.add("a")
    waiting = side.submit(job.wait)
    until(lambda: blocked(redis_client))
    redis_client.xadd("bull:mail:events", {"event": "completed", "jobId": job.id})
    assert waiting.result(5) is None


def test_a_wait_survives_killed_connections(queue, ender, side, redis_client):
    job = queue.add("a")
    waiting = side.submit(job.wait)
    until(lambda: blocked(redis_client))
    redis_client.client_kill_filter(_type="normal", skipme=True)
    ender.completed(job.id, 1)
    assert waiting.result(5) == 1


@pytest.mark.parametrize("append_only", [True, False], ids=["with its data", "empty"])
def test_a_wait_survives_a_restart(private_server, side, append_only):
    server = private_server(append_only=append_only)
    with Queue("mail", redis=server.url) as queue, server.connect() as client:
        job = queue.add("a")
        waiting = side.submit(job.wait)
        until(lambda: blocked(client))
        server.kill()
        server.start()
        if append_only:
            Ender(client).completed(job.id, 1)
            assert waiting.result(10) == 1
        else:
            with pytest.raises(JobGone):
                waiting.result(10)


def test_a_server_that_does_not_come_back_is_unavailable(private_server):
    server = private_server()
    with Queue("mail", redis=server.url) as queue:
        job = queue.add("a")
        server.kill()
        with pytest.raises(RedisUnavailable):
            job.wait("100ms")
