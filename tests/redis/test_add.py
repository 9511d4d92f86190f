"""What add.lua and add_one.lua leave is what Node's `queue.add` leaves, and nothing lands twice."""

from __future__ import annotations

import json

import pytest
import redis

from tests.support.keyspace import snapshot, unchanged_keyspace
from toril.runtime.adding import RequestKey, add_calls
from toril.runtime.newjob import NewJob
from toril.runtime.preparing import prepare
from toril.runtime.scripts import script

BASE = "bull:mail:"
NOW_MS = 1_700_000_000_000


class Adder:
    """Runs add.lua or add_one.lua at a time that the test sets."""

    def __init__(self, client):
        self.client = client
        self.key = RequestKey("nonce")
        self.now_ms = NOW_MS

    def __call__(self, *jobs, batch=None, version=""):
        self.key.batch = self.key.batch + 1 if batch is None else batch
        prepared = [prepare(job) for job in jobs]
        (call,) = add_calls(BASE, prepared, range(len(prepared)), self.key, version=version)
        args = (self.now_ms, *call.command.args[1:])
        return call.command.parse(
            self.client.eval(script(call.command.script).text, 1, BASE, *args)
        )


@pytest.fixture
def add(redis_client):
    return Adder(redis_client)


def job_hash(client, job_id):
    found = {name.decode(): value.decode() for name, value in client.hgetall(BASE + job_id).items()}
    return found | {"opts": json.loads(found["opts"])}


def events(client):
    return [
        {name.decode(): value.decode() for name, value in fields.items()}
        for _, fields in client.xrange(BASE + "events")
    ]


def marker(client):
    return dict(client.zrange(BASE + "marker", 0, -1, withscores=True))


def wait(client):
    return [job_id.decode() for job_id in client.lrange(BASE + "wait", 0, -1)]


def test_a_standard_job(add, redis_client):
    (added,) = add(NewJob("send", {"to": "a/b ü"}))
    assert (added.id, added.is_duplicate, added.now_ms) == ("1", False, NOW_MS)
    assert job_hash(redis_client, "1") == {
        "name": "send",
        "data": '{"to":"a/b ü"}',
        "opts": {"attempts": 0},
        "timestamp": str(NOW_MS),
        "delay": "0",
        "priority": "0",
    }
    assert wait(redis_client) == ["1"]
    assert marker(redis_client) == {b"0": 0}
    assert redis_client.get(BASE + "id") == b"1"
    assert redis_client.hgetall(BASE + "meta") == {b"opts.maxLenEvents": b"10000"}
    assert events(redis_client) == [
        {"event": "added", "jobId": "1", "name": "send"},
        {"event": "waiting", "jobId": "1"},
    ]


def test_jobs_run_in_order_of_adding_and_lifo_ones_next(add, redis_client):
    add(NewJob("a"), NewJob("b"))
    add(NewJob("c", lifo=True))
    assert wait(redis_client)[::-1] == ["3", "1", "2"]


def test_a_delayed_job_is_due_after_its_creation_and_keeps_its_order(add, redis_client):
    add(NewJob("a", delay="60s", priority=3, lifo=True), NewJob("b", delay="60s"))
    due_ms = NOW_MS + 60_000
    delayed = redis_client.zrange(BASE + "delayed", 0, -1, withscores=True)
    assert delayed == [(b"1", due_ms * 4096), (b"2", due_ms * 4096 + 1)]
    assert marker(redis_client) == {b"1": due_ms}
    stored = job_hash(redis_client, "1")
    assert (stored["delay"], stored["priority"]) == ("60000", "3")
    assert stored["opts"] == {"attempts": 0, "delay": 60_000, "priority": 3, "lifo": True}
    assert events(redis_client)[1] == {"event": "delayed", "jobId": "1", "delay": str(due_ms)}


def test_a_delay_counts_from_the_timestamp_that_was_given(add, redis_client):
    add(NewJob("a", delay="60s", timestamp=1_000_000))
    assert redis_client.zscore(BASE + "delayed", "1") == 1_060_000 * 4096
    assert job_hash(redis_client, "1")["timestamp"] == "1000000"


def test_the_4097th_job_of_one_millisecond_shares_the_last_score(add, redis_client):
    last = (NOW_MS + 1000) * 4096 + 4095
    redis_client.zadd(BASE + "delayed", {"other": last})
    add(NewJob("a", delay="1s"))
    assert redis_client.zscore(BASE + "delayed", "1") == last


def test_prioritized_jobs_are_ordered_by_priority_then_by_adding(add, redis_client):
    add(NewJob("a", priority=5), NewJob("b", priority=2_097_151), NewJob("c", priority=5))
    scores = redis_client.zrange(BASE + "prioritized", 0, -1, withscores=True)
    step = 2**32
    assert scores == [(b"1", 5 * step + 1), (b"3", 5 * step + 3), (b"2", 2_097_151 * step + 2)]
    assert marker(redis_client) == {b"0": 0}
    assert redis_client.get(BASE + "pc") == b"3"


@pytest.mark.parametrize(
    "meta", [{"paused": "1"}, {"concurrency": "1"}], ids=["paused", "as many active as allowed"]
)
def test_while_gated_the_base_marker_is_withheld_and_the_delay_marker_is_not(
    add, redis_client, meta
):
    redis_client.hset(BASE + "meta", mapping=meta)
    redis_client.lpush(BASE + "active", "other")
    add(NewJob("a"), NewJob("b", priority=1))
    assert marker(redis_client) == {}
    assert wait(redis_client) == ["1"]
    add(NewJob("c", delay="1s"))
    assert marker(redis_client) == {b"1": NOW_MS + 1000}


def test_the_delay_marker_is_left_to_those_who_add_delayed_jobs(add, redis_client):
    """As in BullMQ: nobody else's adding brings a marker back that a worker has taken."""
    add(NewJob("a", delay="1s", job_id="x"))
    redis_client.delete(BASE + "marker")
    add(NewJob("b", priority=1), NewJob("c", delay="1s", job_id="x"))
    assert marker(redis_client) == {b"0": 0}


def test_a_duplicate_wakes_nobody(add, redis_client):
    add(NewJob("a", job_id="x"))
    redis_client.delete(BASE + "marker")
    add(NewJob("b", job_id="x"))
    assert marker(redis_client) == {}


def test_jobs_of_all_kinds_in_one_call_stand_as_if_added_one_by_one(add, redis_client):
    kinds = [{}, {"lifo": True}, {"priority": 2}, {"delay": "1s"}, {"job_id": "x"}, {"lifo": True}]
    jobs = [NewJob("n", **options) for options in kinds]
    added = add(*jobs)
    together = standing(redis_client)
    redis_client.flushall()
    assert [add(job)[0] for job in jobs] == added
    assert standing(redis_client) == together


def standing(client):
    """What is in Redis but for the last answer and the ids of events, which are times."""
    found = {name: one for name, one in snapshot(client).items() if "toril:last" not in name}
    return {**found, BASE + "events": events(client)}


def test_a_custom_id_counts_and_a_second_one_changes_nothing_else(add, redis_client):
    add(NewJob("a", 1, job_id="x"))
    before = job_hash(redis_client, "x")
    (again,) = add(NewJob("b", 2, job_id="x", delay="1s"))
    assert (again.id, again.is_duplicate) == ("x", True)
    assert job_hash(redis_client, "x") == before
    assert (wait(redis_client), redis_client.zcard(BASE + "delayed")) == (["x"], 0)
    assert redis_client.get(BASE + "id") == b"2"
    assert events(redis_client)[-1] == {"event": "duplicated", "jobId": "x"}


def test_a_custom_id_twice_in_one_call_is_one_job(add, redis_client):
    first, second = add(NewJob("a", job_id="x"), NewJob("b", job_id="x"))
    assert (first.is_duplicate, second.is_duplicate) == (False, True)
    assert wait(redis_client) == ["x"]


def test_the_event_stream_is_trimmed_to_what_meta_says(add, redis_client):
    redis_client.hset(BASE + "meta", "opts.maxLenEvents", "10")
    for _ in range(40):
        add(*[NewJob("a")] * 25)
    assert redis_client.xlen(BASE + "events") < 300


def test_the_version_is_written_when_asked_for(add, redis_client):
    add(NewJob("a"), version="toril:9")
    add(NewJob("a"))
    assert redis_client.hget(BASE + "meta", "version") == b"toril:9"


def test_the_same_call_again_writes_nothing_and_answers_the_same(add, redis_client):
    first = add(NewJob("a"), NewJob("b", job_id="x"))
    with unchanged_keyspace(redis_client):
        assert add(NewJob("a"), NewJob("b", job_id="x"), batch=1) == first


def test_the_next_batch_of_the_same_caller_is_new_and_forgets_the_last(add, redis_client):
    add(NewJob("a"))
    assert add(NewJob("a"))[0].id == "2"
    assert redis_client.get(BASE + "toril:last:nonce").startswith(b"2 ")
    assert 0 < redis_client.pttl(BASE + "toril:last:nonce") <= 300_000


def test_real_time_is_the_servers(add, redis_client):
    add.now_ms = ""
    (added,) = add(NewJob("a"))
    seconds, _ = redis_client.time()
    assert abs(added.now_ms - seconds * 1000) < 5000


@pytest.mark.parametrize(
    "name", ["wait", "active", "prioritized", "delayed", "marker", "events", "meta", "pc", "id"]
)
def test_a_key_of_another_type_is_refused_before_anything_is_written(add, redis_client, name):
    if name in {"wait", "active"}:
        redis_client.set(BASE + name, "x")
    else:
        redis_client.rpush(BASE + name, "x")
    with unchanged_keyspace(redis_client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        add(NewJob("a"), NewJob("b", delay="1s"), NewJob("c", priority=1))


def test_a_paused_queue_whose_marker_is_none_is_refused(add, redis_client):
    redis_client.hset(BASE + "meta", "paused", "1")
    redis_client.set(BASE + "marker", "x")
    with unchanged_keyspace(redis_client), pytest.raises(redis.ResponseError, match="marker has"):
        add(NewJob("a"))


@pytest.mark.parametrize("name", ["wait", "marker", "events", "meta", "id", "active"])
def test_a_single_job_is_refused_before_anything_is_written(add, redis_client, name):
    if name == "active":
        redis_client.hset(BASE + "meta", "concurrency", "3")
    if name in {"wait", "active"}:
        redis_client.set(BASE + name, "x")
    else:
        redis_client.rpush(BASE + name, "x")
    said = f"WRONGTYPE the key {BASE}{name} has the wrong type"
    with unchanged_keyspace(redis_client), pytest.raises(redis.ResponseError, match=said):
        add(NewJob("a"), version="toril:9")


@pytest.mark.parametrize("name", ["marker", "events"])
@pytest.mark.parametrize("options", [{}, {"lifo": True}, {"job_id": "x"}])
def test_what_a_refused_job_had_written_is_taken_back(add, redis_client, name, options):
    add(NewJob("a"))
    add(NewJob("b"))
    redis_client.delete(BASE + name)
    redis_client.set(BASE + name, "x")
    with unchanged_keyspace(redis_client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        add(NewJob("c", **options))
    redis_client.delete(BASE + name)
    assert add(NewJob("c"))[0].id == "3"


def test_a_refused_duplicate_leaves_nothing(add, redis_client):
    add(NewJob("a", job_id="x"))
    redis_client.delete(BASE + "events")
    redis_client.set(BASE + "events", "x")
    with unchanged_keyspace(redis_client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        add(NewJob("a", job_id="x"), version="toril:9")


@pytest.mark.parametrize("last", ["9" * 18, "-" + "9" * 18, "9" * 17])
def test_a_counter_beyond_all_counts_is_left(add, redis_client, last):
    redis_client.set(BASE + "id", last)
    with (
        unchanged_keyspace(redis_client),
        pytest.raises(redis.ResponseError, match=r"no integer|no f"),
    ):
        add(NewJob("a"))


@pytest.mark.parametrize("name", ["meta", "marker", "events", "2"])
def test_a_request_that_was_executed_is_answered_whatever_has_changed(add, redis_client, name):
    first = add(NewJob("a"))
    redis_client.delete(BASE + name)
    redis_client.set(BASE + name, "x")
    with unchanged_keyspace(redis_client):
        assert add(NewJob("a"), batch=1) == first


@pytest.mark.parametrize("name", ["wait", "marker", "events"])
def test_a_job_that_is_written_over_is_not_where_the_next_is_refused(add, redis_client, name):
    redis_client.hset(BASE + "1", "name", "old")
    (redis_client.set if name == "wait" else redis_client.rpush)(BASE + name, "x")
    with unchanged_keyspace(redis_client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        add(NewJob("a"))


def test_a_foreign_hash_at_the_next_number_is_not_taken_back(add, redis_client):
    redis_client.hset(BASE + "1", "foo", "bar")
    redis_client.execute_command("ACL", "SETUSER", "default", "-lpush")
    try:
        with pytest.raises(redis.ResponseError):
            add(NewJob("a"))
    finally:
        redis_client.execute_command("ACL", "SETUSER", "default", "+lpush")
    assert redis_client.hget(BASE + "1", "foo") == b"bar"


@pytest.mark.parametrize("denied", ["hmget", "hset", "lpush", "zadd", "xadd"])
def test_what_may_not_be_written_is_taken_back(add, redis_client, denied):
    add(NewJob("a"))
    redis_client.execute_command("ACL", "SETUSER", "default", f"-{denied}")
    try:
        with pytest.raises(redis.ResponseError), unchanged_keyspace(redis_client):
            add(NewJob("b"))
    finally:
        redis_client.execute_command("ACL", "SETUSER", "default", f"+{denied}")


@pytest.mark.parametrize("options", [{}, {"job_id": "x"}])
def test_a_single_job_whose_key_is_none_is_refused(add, redis_client, options):
    redis_client.set(BASE + options.get("job_id", "1"), "no job")
    with unchanged_keyspace(redis_client), pytest.raises(redis.ResponseError, match="is no job"):
        add(NewJob("a", **options))


@pytest.mark.parametrize("last", ["many", "1.5", "9" * 18])
def test_a_single_job_does_not_count_on_from_what_is_no_count(add, redis_client, last):
    redis_client.set(BASE + "id", last)
    with unchanged_keyspace(redis_client), pytest.raises(redis.ResponseError, match="no integer"):
        add(NewJob("a"))


@pytest.mark.parametrize("meta", [{"paused": "1"}, {"concurrency": "1"}, {"concurrency": "0"}])
def test_a_single_job_wakes_nobody_while_the_queue_is_gated(add, redis_client, meta):
    redis_client.hset(BASE + "meta", mapping=meta)
    redis_client.lpush(BASE + "active", "other")
    add(NewJob("a"))
    assert (marker(redis_client), wait(redis_client)) == ({}, ["1"])


def test_a_single_job_wakes_somebody_below_the_concurrency(add, redis_client):
    redis_client.hset(BASE + "meta", "concurrency", "2")
    redis_client.lpush(BASE + "active", "other")
    add(NewJob("a"))
    assert marker(redis_client) == {b"0": 0}


@pytest.mark.parametrize("length", ["10", "many"])
def test_a_single_job_trims_the_event_stream(add, redis_client, length):
    redis_client.hset(BASE + "meta", "opts.maxLenEvents", length)
    for _ in range(200):
        add(NewJob("a"))
    assert (redis_client.xlen(BASE + "events") < 300) == (length == "10")
    assert redis_client.hget(BASE + "meta", "opts.maxLenEvents") == length.encode()


def test_a_single_job_counts_from_its_own_timestamp(add, redis_client):
    add(NewJob("a", timestamp=1_000_000))
    assert job_hash(redis_client, "1")["timestamp"] == "1000000"


@pytest.mark.parametrize("name", ["id", "pc"])
def test_a_counter_that_is_no_integer_is_refused(add, redis_client, name):
    redis_client.set(BASE + name, "many")
    with unchanged_keyspace(redis_client), pytest.raises(redis.ResponseError, match="no integer"):
        add(NewJob("a"), NewJob("b", priority=1))


@pytest.mark.parametrize("job_id", ["2", "x"])
def test_a_job_key_of_another_type_is_refused(add, redis_client, job_id):
    redis_client.set(BASE + job_id, "no job")
    second = NewJob("b", job_id=None if job_id == "2" else job_id)
    with unchanged_keyspace(redis_client), pytest.raises(redis.ResponseError, match="is no job"):
        add(NewJob("a"), second)


def test_a_full_server_refuses_and_nothing_is_written(add, redis_client):
    add(NewJob("a"))
    redis_client.config_set("maxmemory", 1)
    try:
        before = snapshot(redis_client)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            add(NewJob("a"))
        assert snapshot(redis_client) == before
    finally:
        redis_client.config_set("maxmemory", 0)


def test_every_key_of_a_queue_begins_with_its_base(add, redis_client):
    add(NewJob("a"), NewJob("b", priority=1), NewJob("c", delay="1s"), NewJob("d", job_id="x"))
    assert all(name.startswith(BASE) for name in snapshot(redis_client))
