"""`AsyncQueue`: the same programs as `Queue`, on an event loop."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.fault_proxy import FaultProxy
from tests.support.waiting import until
from toril.errors import InvalidInput, JobFailed, RedisUnavailable, WaitTimeout
from toril.runtime.limiter import RateLimit
from toril.runtime.newjob import NewJob
from toril.runtime.queue import AsyncQueue


def blocked(client):
    """How many clients block on the stream."""
    return client.info("clients")["blocked_clients"]


async def test_everything_a_queue_does(redis_url, redis_client):
    async with AsyncQueue("mail", redis=redis_url, defaults={"attempts": 2}) as queue:
        job = await queue.add("a", {"x": 1}, priority=3)
        assert await queue.get_job(job.id) == job
        assert await queue.get_job("none") is None
        assert await job.state() == "prioritized"
        assert [one.id for one in await queue.add_bulk([NewJob("b")] * 30)][-1] == "31"
        assert (await queue.counts())["waiting"] == 30
        redis_client.rpush("bull:mail:1:logs", "line")
        assert await job.logs() == ["line"]
        assert await queue.set_rate_limit(5, "1s", burst=1) == RateLimit(5, 1000, 1)
        await queue.remove_rate_limit()
        assert not redis_client.exists("bull:mail:toril:limit")
        with pytest.raises(InvalidInput):
            await queue.add("a", job_id="12")


async def test_many_tasks_share_a_queue_and_few_connections(redis_url, redis_client):
    async with AsyncQueue("mail", redis=redis_url) as queue:
        jobs = await asyncio.gather(*[queue.add("a") for _ in range(300)])
        assert len({job.id for job in jobs}) == 300
        assert len(redis_client.client_list()) < 50


async def test_an_add_whose_reply_is_lost_is_added_once(redis_server, redis_client, tmp_path):
    with FaultProxy(redis_server.socket_path, tmp_path) as proxy:
        async with AsyncQueue("mail", redis=proxy.url) as queue:
            await queue.add("warm")
            proxy.cut()
            assert (await queue.add("a")).id == "2"
    assert proxy.were_cut == 1
    assert redis_client.llen("bull:mail:wait") == 2


async def test_a_cancelled_add_leaves_the_queue_usable(redis_server, redis_url):
    async with AsyncQueue("mail", redis=redis_url) as queue:
        await queue.add("warm")
        redis_server.freeze()
        try:
            task = asyncio.create_task(queue.add("lost"))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        finally:
            redis_server.thaw()
        assert (await queue.add("next")).name == "next"
        counted = await queue.counts()
        assert counted["waiting"] in {2, 3}


async def test_a_server_that_is_not_there_is_unavailable(tmp_path):
    async with AsyncQueue("mail", redis=f"unix://{tmp_path}/none") as queue:
        with pytest.raises(RedisUnavailable, match="none"):
            await queue.add("a")


async def test_waiting_for_jobs_side_by_side(redis_url, redis_client):
    async with AsyncQueue("mail", redis=redis_url) as queue:
        jobs = await queue.add_bulk([NewJob("a")] * 60)
        waits = [asyncio.create_task(job.wait("10s")) for job in jobs]
        added = await queue.add("still possible while 60 wait")
        await asyncio.to_thread(until, lambda: blocked(redis_client) == len(jobs))
        for job in jobs[:30]:
            event = {"event": "completed", "jobId": job.id, "returnvalue": job.id}
            redis_client.xadd("bull:mail:events", event)
        for job in jobs[30:]:
            event = {"event": "failed", "jobId": job.id, "failedReason": "no"}
            redis_client.xadd("bull:mail:events", event)
        ends = await asyncio.gather(*waits, return_exceptions=True)
    assert added.id == "61"
    assert ends[:30] == [int(job.id) for job in jobs[:30]]
    assert all(isinstance(end, JobFailed) for end in ends[30:])


async def test_a_wait_that_ends_in_time(redis_url):
    async with AsyncQueue("mail", redis=redis_url) as queue:
        job = await queue.add("a")
        with pytest.raises(WaitTimeout):
            await job.wait("50ms")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(job.wait("10s"), 0.05)
        assert await job.state() == "waiting"
