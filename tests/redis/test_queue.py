"""`Queue`: what a producer writes is there once, whatever happens to connection and server."""

from __future__ import annotations

import inspect
import os
import threading
import unittest.mock
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.fault_proxy import FaultProxy
from tests.support.keyspace import unchanged_keyspace
from toril.errors import (
    BulkAddFailed,
    DataTooLarge,
    InvalidInput,
    InvalidJobData,
    InvalidOption,
    InvalidQueueName,
    RedisRefused,
    RedisUnavailable,
)
from toril.runtime.limiter import RateLimit
from toril.runtime.newjob import NewJob
from toril.runtime.options import Backoff
from toril.runtime.queue import Queue


@pytest.fixture
def queue(redis_url):
    with Queue("mail", redis=redis_url) as one:
        yield one


@pytest.fixture
def proxy(redis_server, tmp_path_factory):
    with FaultProxy(redis_server.socket_path, tmp_path_factory.mktemp("p")) as one:
        yield one


def test_a_job_comes_back_as_it_was_added(queue):
    added = queue.add("send", {"to": ["a"]}, attempts=3, backoff="1s", priority=2)
    found = queue.get_job(added.id)
    assert found == added
    assert (found.name, found.data, found.priority) == ("send", {"to": ["a"]}, 2)
    assert found.opts == {
        "attempts": 3,
        "backoff": {"type": "fixed", "delay": 1000},
        "priority": 2,
    }
    assert (found.attempts_made, found.progress, found.returnvalue) == (0, 0, None)


def test_options_of_the_queue_apply_where_a_job_says_nothing(redis_url):
    defaults = {"attempts": 5, "backoff": Backoff.exponential("1s"), "remove_on_complete": True}
    with Queue("mail", redis=redis_url, defaults=defaults) as queue:
        job = queue.get_job(queue.add("a", attempts=2).id)
        (other,) = queue.add_bulk([NewJob("b")])
    assert job.opts == {
        "attempts": 2,
        "backoff": {"type": "exponential", "delay": 1000},
        "removeOnComplete": True,
    }
    assert other.opts["attempts"] == 5


def test_defaults_are_checked_at_once(redis_url):
    with pytest.raises(InvalidOption, match="attempts"):
        Queue("mail", redis=redis_url, defaults={"attempts": 0})


def test_states_are_counted(queue, redis_client):
    queue.add_bulk([NewJob("a"), NewJob("b", delay="1m"), NewJob("c", priority=1), NewJob("d")])
    redis_client.lpush("bull:mail:active", "x")
    redis_client.zadd("bull:mail:completed", {"y": 1})
    redis_client.zadd("bull:mail:failed", {"z": 1, "zz": 1})
    redis_client.zadd("bull:mail:waiting-children", {"w": 1})
    redis_client.lpush("bull:mail:paused", "v")
    assert queue.counts() == {
        "waiting": 2,
        "active": 1,
        "delayed": 1,
        "prioritized": 1,
        "completed": 1,
        "failed": 2,
        "waiting-children": 1,
        "paused": 1,
    }


def test_a_job_says_where_it_is_and_what_it_logged(queue, redis_client):
    first, second = queue.add_bulk([NewJob("a"), NewJob("b", delay="1m")])
    third = queue.add("c", priority=1)
    redis_client.rpush(f"bull:mail:{first.id}:logs", "one", "two ü")
    assert [first.state(), second.state(), third.state()] == ["waiting", "delayed", "prioritized"]
    assert first.logs() == ["one", "two ü"]
    assert second.logs() == []
    redis_client.lrem("bull:mail:wait", 0, first.id)
    assert first.state() == "unknown"
    redis_client.delete(f"bull:mail:{first.id}")
    assert (first.state(), queue.get_job(first.id)) == ("gone", None)


def test_everything_a_worker_left_on_a_job_is_read(queue, redis_client):
    job = queue.add("a")
    left = {
        "atm": 2, "ats": 3, "stc": 1, "t:crashes": 1, "t:interruptions": 4, "pb": "host-1",
        "processedOn": 17, "finishedOn": 18, "progress": '{"p":1}', "returnvalue": '"done"',
        "failedReason": "boom", "stacktrace": '["one","two"]', "t:verdict": "crashed",
        "t:detail": '{"signal":"SIGSEGV"}', "t:usage": '{"wall_ms":7,"cpu_ms":5}',
    }  # fmt: skip
    redis_client.hset(f"bull:mail:{job.id}", mapping=left)
    found = queue.get_job(job.id)
    assert (found.attempts_made, found.attempts_started, found.stalls) == (2, 3, 1)
    assert (found.crashes, found.interruptions, found.processed_by) == (1, 4, "host-1")
    assert (found.processed_on_ms, found.finished_on_ms) == (17, 18)
    assert (found.progress, found.returnvalue, found.failed_reason) == ({"p": 1}, "done", "boom")
    assert (found.stacktrace, found.verdict) == (("one", "two"), "crashed")
    assert found.detail == {"signal": "SIGSEGV"}
    assert (found.usage.wall_ms, found.usage.cpu_ms, found.usage.rss_growth_bytes) == (7, 5, None)


def test_a_job_with_broken_fields_is_shown_as_well_as_can_be(queue, redis_client):
    broken = {"name": b"\xff", "data": "{", "opts": "[]", "stacktrace": "{}", "atm": "x"}
    redis_client.hset("bull:mail:9", mapping=broken | {"t:usage": "[]", "delay": "1500.5"})
    found = queue.get_job("9")
    assert (found.data, found.opts, found.stacktrace, found.usage) == (None, {}, (), None)
    assert (found.attempts_made, found.delay_ms) == (0, 1500)


@pytest.mark.parametrize("job_id", ["7", "meta", "toril:limit", "id"])
def test_what_is_no_job_is_none(queue, job_id):
    queue.add("a")
    queue.set_rate_limit(1)
    assert queue.get_job(job_id) is None


@pytest.mark.parametrize("job_id", ["", None, 7])
def test_a_job_is_asked_for_by_its_id(queue, job_id):
    with pytest.raises(InvalidInput, match="job id"):
        queue.get_job(job_id)


def test_a_bulk_is_checked_whole_before_anything_is_written(queue, redis_client):
    jobs = [NewJob("a"), NewJob("b", {"x": float("nan")}), NewJob("c")]
    with unchanged_keyspace(redis_client), pytest.raises(InvalidJobData) as caught:
        queue.add_bulk(jobs)
    assert "at index 1" in caught.value.__notes__[0]


def test_a_bulk_takes_new_jobs_only(queue):
    with pytest.raises(InvalidInput, match="index 1 of add_bulk is of type dict"):
        queue.add_bulk([NewJob("a"), {"name": "b"}])


def test_bad_input_writes_nothing(queue, redis_client, redis_url):
    with unchanged_keyspace(redis_client):
        with pytest.raises(InvalidInput):
            queue.add("a", job_id="12")
        with pytest.raises(InvalidQueueName, match="image-optimize"):
            Queue("image:optimize", redis=redis_url)


def test_a_queue_may_take_less_data_than_the_house(redis_url):
    with Queue("mail", redis=redis_url, max_data_bytes=10) as queue:
        queue.add("a", "x" * 8)
        with pytest.raises(DataTooLarge):
            queue.add("a", "x" * 9)
    with pytest.raises(InvalidOption, match="max_data_bytes"):
        Queue("mail", redis=redis_url, max_data_bytes=2**40)


def test_a_large_bulk_keeps_its_order(queue, redis_client):
    jobs = queue.add_bulk(NewJob("n", {"i": i}) for i in range(1203))
    assert [job.id for job in jobs] == [str(i + 1) for i in range(1203)]
    assert [job.data["i"] for job in jobs[-2:]] == [1201, 1202]
    waiting = redis_client.lrange("bull:mail:wait", 0, -1)
    assert [int(job_id) for job_id in waiting[::-1]] == list(range(1, 1204))


def test_an_empty_bulk_is_nothing(queue, redis_client):
    with unchanged_keyspace(redis_client):
        assert queue.add_bulk([]) == []


def test_a_producer_leaves_its_version_and_the_length_of_the_stream(queue, redis_client):
    queue.add("a")
    meta = redis_client.hgetall("bull:mail:meta")
    assert meta.keys() == {b"version", b"opts.maxLenEvents"}
    assert meta[b"version"].startswith(b"toril:")
    redis_client.hset("bull:mail:meta", "version", "bullmq:6.7.0")
    queue.add("a")
    assert redis_client.hget("bull:mail:meta", "version") == b"bullmq:6.7.0"


def test_flushed_scripts_are_loaded_again(queue, redis_client):
    queue.add("a")
    redis_client.script_flush()
    assert [job.id for job in queue.add_bulk([NewJob("b")] * 60)][-1] == "61"
    redis_client.script_flush()
    assert queue.counts()["waiting"] == 61


def test_killed_connections_are_replaced(queue, redis_client):
    queue.add("a")
    redis_client.client_kill_filter(_type="normal", skipme=True)
    assert queue.add("b").id == "2"


@pytest.mark.parametrize("cut", [1, 2])
def test_an_add_whose_reply_is_lost_is_added_once(proxy, redis_client, cut):
    with Queue("mail", redis=proxy.url) as queue:
        queue.add("warm")
        proxy.cut(cut)
        assert queue.add("a", {"n": 1}).id == "2"
    assert proxy.were_cut == cut
    assert redis_client.lrange("bull:mail:wait", 0, -1) == [b"2", b"1"]
    assert redis_client.get("bull:mail:id") == b"2"


def test_a_bulk_whose_replies_are_lost_is_added_once(proxy, redis_client):
    with Queue("mail", redis=proxy.url) as queue:
        queue.add("warm")
        proxy.cut()
        jobs = queue.add_bulk([NewJob("a", {"i": i}) for i in range(120)])
    assert proxy.were_cut == 1
    assert [int(job.id) for job in jobs] == list(range(2, 122))
    assert redis_client.llen("bull:mail:wait") == 121


def test_replies_lost_for_good_are_reported_and_the_next_add_is_a_new_one(proxy, redis_client):
    with Queue("mail", redis=proxy.url) as queue:
        queue.add("warm")
        proxy.cut(100)
        with pytest.raises(RedisUnavailable):
            queue.add("a")
        proxy.cut(0)
        assert queue.add("b").id != queue.add("c").id
    names = redis_client.xrange("bull:mail:events")
    added = [fields[b"name"] for _, fields in names if fields[b"event"] == b"added"]
    assert sorted(added) == [b"a", b"b", b"c", b"warm"]


def test_a_server_killed_in_the_middle_leaves_a_list_of_what_was_not_added(private_server):
    server = private_server()
    with Queue("mail", redis=server.url) as queue:

        def jobs():
            # The jobs are drawn before the first is sent: the server dies after that, not here.
            yield from (NewJob("a", {"i": i, "pad": "x" * 20_000}) for i in range(3000))
            threading.Timer(0.05, server.kill).start()

        with pytest.raises(BulkAddFailed) as caught:
            queue.add_bulk(jobs())
    failure = caught.value
    assert failure.added.keys() | failure.failed.keys() == set(range(3000))
    assert not failure.added.keys() & failure.failed.keys()
    assert all(isinstance(error, RedisUnavailable) for error in failure.failed.values())
    server.start()
    with server.connect() as client:
        for index, job_id in failure.added.items():
            assert client.hget(f"bull:mail:{job_id}", "data").startswith(b'{"i":%d,' % index)


def test_a_full_server_fails_adds_loudly_and_reads_go_on(private_server):
    server = private_server(options=("--maxmemory-policy", "noeviction"))
    with server.connect() as client, Queue("mail", redis=server.url) as queue:
        queue.add("before")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 1_000_000)
        with pytest.raises(BulkAddFailed, match="out of memory") as caught:
            queue.add_bulk([NewJob("a", "x" * 100)] * 5000)
        assert caught.value.added
        client.config_set("maxmemory", 1)
        with pytest.raises(RedisUnavailable, match="out of memory"):
            queue.add("after")
        assert queue.counts()["waiting"] == 1 + len(caught.value.added)
        client.config_set("maxmemory", 0)
        queue.add("after")


def test_jobs_are_shown_and_compared_by_what_they_hold(queue, redis_url):
    added = queue.add("a", {"n": 1})
    assert repr(added).startswith("Job(id='1', name='a', data={'n': 1}, opts={")
    assert "driver" not in repr(added)
    with Queue("mail", redis=redis_url) as other:
        assert other.get_job("1") == added
        assert other.add("a", {"n": 1}) != added
    assert added == unittest.mock.ANY
    assert "usage" in inspect.signature(type(added)).parameters
    with pytest.raises(TypeError, match="unhashable"):
        hash(added)
    with pytest.raises(AttributeError):
        added.name = "b"


def test_a_server_that_is_not_there_is_named(tmp_path):
    with (
        Queue("mail", redis=f"unix://:s3cret@{tmp_path}/none") as queue,
        pytest.raises(RedisUnavailable, match=f"{tmp_path}/none") as caught,
    ):
        queue.add("a")
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(queue)


def test_a_restart_in_between_is_not_noticed(private_server):
    server = private_server()
    with Queue("mail", redis=server.url) as queue:
        queue.add("a")
        server.kill()
        with ThreadPoolExecutor() as pool:
            second = pool.submit(queue.add, "b")
            # Started from the main thread, to which the server is tied.
            server.start()
            assert second.result().id == "2"


def test_a_key_of_another_type_is_refused(queue, redis_client):
    redis_client.set("bull:mail:wait", "x")
    with pytest.raises(RedisRefused, match="WRONGTYPE"):
        queue.add("a")
    with pytest.raises(BulkAddFailed, match="WRONGTYPE"):
        queue.add_bulk([NewJob("a")])


def test_threads_share_a_queue(queue, redis_client):
    def add_some():
        for _ in range(50):
            queue.add("a")

    threads = [threading.Thread(target=add_some) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert redis_client.llen("bull:mail:wait") == 400
    assert len(set(redis_client.lrange("bull:mail:wait", 0, -1))) == 400


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_queue_made_before_a_fork_is_two_producers_after_it(queue, redis_client):
    """A web server that loads the application first and forks then does this."""
    queue.add("before")
    pid = os.fork()
    if pid == 0:
        try:
            queue.add("child")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    queue.add("parent")
    names = [redis_client.hget(f"bull:mail:{job_id}", "name") for job_id in (1, 2, 3)]
    assert names == [b"before", b"child", b"parent"]


def test_an_add_that_a_frozen_server_executes_late_is_added_once(private_server):
    server = private_server()
    with (
        Queue("mail", redis=f"{server.url}&socket_timeout=0.1") as queue,
        ThreadPoolExecutor() as pool,
    ):
        queue.add("warm")
        server.freeze()
        late = pool.submit(queue.add, "late")
        with pytest.raises(TimeoutError):
            late.result(0.5)
        server.thaw()
        assert late.result().id == "2"
        assert queue.counts()["waiting"] == 2


def test_a_rate_limit_is_set_and_removed(queue, redis_client):
    assert queue.set_rate_limit(200, "60s") == RateLimit(200, 60_000, 200)
    assert queue.set_rate_limit(RateLimit(1, 1000, 1, revision=4)).revision == 4
    assert redis_client.exists("bull:mail:toril:limit")
    queue.remove_rate_limit()
    assert not redis_client.exists("bull:mail:toril:limit")
