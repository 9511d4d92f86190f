"""What went wrong once: each test failed before its mend."""

from __future__ import annotations

import time

import pytest

from tests.support.toril import UNWALLED, TorilRun
from toril import NewJob, Queue

PROCESSORS = "tests.end_to_end.processors:processors"


def run(url: str, *flags: str) -> TorilRun:
    return TorilRun("faults", PROCESSORS, url, "--concurrency", "1", *flags).ready()


def active(queue: Queue, toril: TorilRun, count: int = 1) -> None:
    toril.wait_until(queue.counts, lambda counts: counts["active"] == count, 10)


def test_refused_wait_does_not_make_the_worker_deaf(private_server):
    server = private_server()
    with Queue("faults", redis=server.url) as queue, run(server.url) as toril:
        with server.connect() as client:
            client.execute_command("ACL", "SETUSER", "default", "-bzpopmin")
            client.client_kill_filter(_type="normal", skipme=True)
            toril.wait_for("redis-failed", what="waiting")
            client.execute_command("ACL", "SETUSER", "default", "+bzpopmin")
        assert queue.add("echo", 1).wait(timeout="10s") == 1


def test_result_outlives_a_login_that_is_refused_for_a_while(private_server):
    server = private_server()
    with Queue("faults", redis=server.url) as queue, run(server.url) as toril:
        job = queue.add("nap", {"seconds": 0.8})
        active(queue, toril)
        with server.connect() as client:
            client.execute_command("ACL", "SETUSER", "default", "resetpass", ">secret")
            client.client_kill_filter(_type="normal", skipme=True)
            toril.wait_for("redis-lost")
            time.sleep(0.5)
            client.execute_command("ACL", "SETUSER", "default", "nopass")
        toril.wait_for("job-settled", job_id=job.id)
        ended = queue.get_job(job.id)
        assert (ended.state(), ended.attempts_started) == ("completed", 1)


@pytest.mark.parametrize("turn", range(3))
def test_own_sweep_leaves_own_jobs_alone_after_a_freeze(private_server, turn):
    del turn
    server = private_server()
    flags = ("--lock-duration", "1s", "--stalled-interval", "100ms")
    with Queue("faults", redis=server.url) as queue, run(server.url, *flags) as toril:
        job = queue.add("nap", {"seconds": 3})
        active(queue, toril)
        time.sleep(0.3)
        server.freeze()
        time.sleep(1.6)
        server.thaw()
        assert job.wait(timeout="20s")
        ended = queue.get_job(job.id)
        assert (ended.attempts_started, ended.stalls) == (1, 0)


def test_second_signal_ends_a_claim_that_was_on_its_way(redis_url, redis_client):
    with Queue("faults", redis=redis_url) as queue, run(redis_url) as toril:
        queue.add("nap", {"seconds": 0.5})
        active(queue, toril)
        late = queue.add("nap", {"seconds": 60})
        redis_client.execute_command("CLIENT", "PAUSE", 1500, "WRITE")
        time.sleep(0.8)
        toril.stop()
        toril.wait_for("draining")
        toril.stop()
        assert toril.exit_code(10) == 0
        assert queue.get_job(late.id).state() == "waiting"


def test_idle_worker_stops_at_once_during_an_outage(private_server):
    server = private_server()
    with run(server.url, "--drain-timeout", "60s") as toril:
        server.kill()
        toril.wait_for("redis-lost")
        toril.stop()
        assert toril.exit_code(10) == 0


def test_chatty_job_on_a_full_server_is_refused_softly(private_server):
    server = private_server(options=("--maxmemory-policy", "noeviction"))
    with Queue("faults", redis=server.url) as queue, run(server.url) as toril:
        job = queue.add("chat", {"seconds": 2})
        active(queue, toril)
        with server.connect() as client:
            client.config_set("maxmemory", 1)
            toril.wait_for("report-refused")
            toril.wait_until(queue.counts, lambda counts: counts["completed"] == 1, 20)
            client.config_set("maxmemory", 0)
        assert len(toril.found("report-refused", job_id=job.id)) == 1
        assert len(toril.found("redis-lost")) <= 1


def test_worker_does_not_eat_the_marker_of_its_own_claim(redis_url, redis_client):
    """Jobs that arrive without a marker: the claim's own wake-up is for the next worker."""
    with (
        Queue("faults", redis=redis_url) as queue,
        TorilRun("faults", PROCESSORS, redis_url, "--concurrency", "2").ready() as toril,
    ):
        queue.add("chat", {"seconds": 4})
        active(queue, toril)
        jobs = queue.add_bulk(NewJob("nap", {"seconds": 60}, delay="1h") for _ in range(2))
        with redis_client.pipeline(transaction=True) as pipe:
            pipe.delete("bull:faults:delayed", "bull:faults:marker")
            pipe.lpush("bull:faults:wait", *(job.id for job in jobs))
            pipe.execute()
        active(queue, toril, 2)
        time.sleep(0.3)
        assert redis_client.llen("bull:faults:wait") == 1
        assert redis_client.zscore("bull:faults:marker", "0") == 0


def test_zygote_that_is_killed_is_one_failure_and_its_job_goes_on(redis_url):
    with Queue("faults", redis=redis_url) as queue, run(redis_url, *UNWALLED) as toril:
        job = queue.add("kill-zygote-once", {})
        assert job.wait(timeout="20s") == 2
        ended = queue.get_job(job.id)
        assert (ended.interruptions, ended.attempts_made) == (1, 1)
        assert len(toril.found("claiming-paused")) == 1
        assert toril.found("child-gone") == []
