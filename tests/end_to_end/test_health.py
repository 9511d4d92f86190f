"""The health endpoint of a running supervisor: probes, scrapers, and those who mean no good."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.probe import ask, ask_until, connected, metrics_until, said
from tests.support.toril import TorilRun
from tests.unit.test_metrics import labels
from toril import Backoff, Queue
from toril.supervisor.service.http import MAX_CONNECTIONS, MAX_HEAD_BYTES

if TYPE_CHECKING:
    from pathlib import Path

PROCESSORS = "tests.end_to_end.processors:processors"
OBSERVED = ("-m", "tests.end_to_end.observed", "run")
WATCHED = labels(queue="watched")


def run(url: str, *flags: str, listen: str = "127.0.0.1:0", **environ: str) -> TorilRun:
    environ = {"OBSERVED_POLL_MS": "300", **environ}
    words = ("--concurrency", "2", "--level", "process", "--health", listen, *flags)
    return TorilRun("watched", PROCESSORS, url, *words, command=OBSERVED, environ=environ)


def address_of(toril: TorilRun) -> str:
    return toril.wait_for("health-listening")[0]["address"]


@pytest.fixture
def queue(redis_url):
    with Queue("watched", redis=redis_url) as queue:
        yield queue


def test_metrics_say_what_happened(redis_url, queue):
    """20 completed, 2 attempts retried and failed for good, 3 crashes, one name nobody knows."""
    for number in range(20):
        queue.add("echo", number)
    queue.add("fail", {}, attempts=3, backoff=Backoff.fixed("10ms"))
    queue.add("forged\n1", {})
    queue.add("echo", {}, delay="1h")

    with run(redis_url, "--max-crashes", "1").ready() as toril:
        address = address_of(toril)
        metrics_until(address, "bullmq_job_completed_total", lambda seen: seen[WATCHED] == 20)
        # Only now: the clock of a child that is gone cannot be read for the job before, either.
        queue.add("exit-zero", {})
        found = metrics_until(address, "bullmq_job_failed_total", lambda seen: seen[WATCHED] == 3)

    attempts = found["toril_attempts_total"]
    assert attempts == {
        labels(queue="watched", name="echo", verdict="returned", settled="completed"): 20,
        labels(queue="watched", name="fail", verdict="raised", settled="retried"): 2,
        labels(queue="watched", name="fail", verdict="raised", settled="failed"): 1,
        labels(queue="watched", name="exit-zero", verdict="exited", settled="failed"): 1,
        labels(queue="watched", verdict="raised", settled="failed"): 1,
    }
    assert found["bullmq_job_completed_total"] == {WATCHED: 20}
    counts = found["bullmq_job_count"]
    by_state = {dict(of)["state"]: count for of, count in counts.items()}
    assert by_state == {**dict.fromkeys(by_state, 0), "completed": 20, "failed": 3, "delayed": 1}
    assert found["toril_job_wait_seconds_count"] == {WATCHED: 23}
    assert found["toril_child_restarts_total"][labels(queue="watched", verdict="exited")] == 1
    echo = labels(queue="watched", name="echo")
    for name in ("run_seconds", "cpu_seconds", "memory_bytes"):
        assert found[f"toril_job_{name}_count"][echo] == 20
    assert 0 < found["toril_lock_margin_seconds"][WATCHED] <= 30
    assert found["toril_unrecorded_results"] == {WATCHED: 0}


def test_the_oldest_waiting_job_is_told_of_and_slots_by_state(redis_url, queue):
    with run(redis_url, "--concurrency", "1").ready() as toril:
        queue.add("nap", {"seconds": 30})
        queue.add("echo", {})
        address = address_of(toril)
        metrics_until(
            address, "toril_queue_oldest_waiting_seconds", lambda seen: seen[WATCHED] > 0.5
        )
        found = metrics_until(
            address, "toril_slots", lambda seen: seen[labels(queue="watched", state="busy")] == 1
        )
    assert found["toril_jobs_held"] == {WATCHED: 1}


def test_redis_away_is_no_reason_to_restart_and_no_time_for_work(private_server):
    """Liveness never depends on Redis; readiness says that it is Redis; metrics go on."""
    server = private_server()
    with run(server.url, "--lock-duration", "500ms").ready() as toril:
        address = address_of(toril)
        assert ask(address, "/readyz") == (200, "ok\n")
        server.kill()
        body = ask_until(address, "/readyz", 503, "Redis last answered")
        assert body.startswith("watched: ")
        assert ask(address, "/livez") == (200, "ok\n")
        found = metrics_until(address, "toril_healthy", lambda seen: seen[WATCHED] == 0)
        assert "bullmq_job_count" not in found
        assert found["toril_redis_outages_total"] == {WATCHED: 1}
        server.start()
        ask_until(address, "/readyz", 200)
        assert ask(address, "/livez") == (200, "ok\n")


def test_not_ready_before_the_children_are_and_while_it_stops(redis_url, queue, tmp_path):
    (tmp_path / "slowly.py").write_text("import time\ntime.sleep(1)\ndef slowly(job): ...\n")
    environ = {"PYTHONPATH": str(tmp_path), "TORIL_HEALTH__LISTEN": "127.0.0.1:0"}
    flags = ("--level", "process")
    with TorilRun("slow", "slowly:slowly", redis_url, *flags, environ=environ) as toril:
        address = address_of(toril)
        assert ask(address, "/readyz") == (503, "starting\n")
        assert ask(address, "/livez") == (200, "ok\n")
        assert ask(address, "/metrics")[0] == 200
        ask_until(address, "/readyz", 200)
    with run(redis_url).ready() as toril:
        queue.add("nap", {"seconds": 30})
        address = address_of(toril)
        metrics_until(address, "toril_jobs_held", lambda seen: seen[WATCHED] == 1)
        toril.stop()
        assert ask_until(address, "/readyz", 503) == "stopping\n"
        assert ask(address, "/livez") == (200, "ok\n")


def test_who_talks_slowly_or_wrongly_disturbs_nobody(redis_url, queue):
    """Ten times as many half requests as connections there may be, and probes are answered."""
    with run(redis_url, "--lock-duration", "1s").ready() as toril:
        queue.add("work", {"seconds": 3})
        address = address_of(toril)
        slow = []
        try:
            for number in range(10 * MAX_CONNECTIONS):
                slow.append(connected(address))
                with suppress(ConnectionResetError, BrokenPipeError):
                    slow[-1].sendall(b"GET /livez HTTP/1.1\r\nX: ")
                if number % MAX_CONNECTIONS == 0:
                    assert ask(address, "/livez") == (200, "ok\n")
            assert open_sockets(toril) < 3 * MAX_CONNECTIONS
        finally:
            for one in slow:
                one.close()
        toril.wait_for("job-settled", verdict="returned")
        assert toril.found("lock-lost") == []


def open_sockets(toril: TorilRun) -> int:
    """Of all kinds."""
    descriptors = psutil.Process(toril.process.pid).net_connections("all")
    return len(descriptors)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /livez HTTP/1.1\r\n\r\n", 405),
        (b"GET /nothing HTTP/1.1\r\n\r\n", 404),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET / SPDY/3\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nX: " + b"x" * MAX_HEAD_BYTES, 431),
        (b"GET /livez?verbose HTTP/1.0\n\n", 200),
    ],
)
def test_requests_of_every_kind_are_answered(shared_run, request_, status):
    assert said(address_of(shared_run), request_)[0] == status


def test_head_has_no_body(shared_run):
    status, headers, body = said(address_of(shared_run), b"HEAD /livez HTTP/1.1\r\n\r\n")
    assert (status, headers["Content-Length"], body) == (200, "3", "")


@pytest.fixture(scope="module")
def shared_run(session_servers):
    url = session_servers("valkey").url
    flags = ("--health", "127.0.0.1:0", "--level", "process")
    with TorilRun("idle", PROCESSORS, url, *flags).ready() as toril:
        yield toril


@pytest.mark.slow
def test_a_slow_connection_ends_by_itself(shared_run):
    with connected(address_of(shared_run), 20) as one:
        one.sendall(b"GET /li")
        began_s = time.monotonic()
        with suppress(ConnectionResetError):
            assert one.recv(1) == b""
        assert time.monotonic() - began_s < 15


def test_a_flood_of_jobs_and_scrapers_leaves_probes_answered(redis_url, queue):
    jobs = 400
    with run(redis_url, "--lock-duration", "1s").ready() as toril:
        address = address_of(toril)
        for number in range(jobs):
            queue.add("chatter", {"n": number})
        while len(toril.found("job-settled")) < jobs:
            assert ask(address, "/livez") == (200, "ok\n")
            assert ask(address, "/metrics")[0] == 200
            assert toril.process.poll() is None
        metrics_until(address, "bullmq_job_completed_total", lambda seen: seen[WATCHED] == jobs)
        assert toril.found("lock-lost") == []


def test_a_socket_file_is_the_owners_alone_and_gone_at_the_end(redis_url, tmp_path: Path):
    path = tmp_path / "health.sock"
    with run(redis_url, listen=f"unix:{path}").ready() as toril:
        assert path.stat().st_mode & 0o777 == 0o600
        assert ask(f"unix:{path}", "/readyz") == (200, "ok\n")
        toril.stop()
        assert toril.exit_code() == 0
    assert not path.exists()
    with run(redis_url, listen=f"unix:{path}").ready() as toril:
        toril.process.kill()
        toril.process.wait()
    assert path.exists()
    with run(redis_url, listen=f"unix:{path}").ready():
        assert ask(f"unix:{path}", "/livez") == (200, "ok\n")


def test_an_address_that_is_taken_refuses_the_start(redis_url, shared_run):
    with run(redis_url, listen=address_of(shared_run)) as toril:
        assert toril.exit_code() == os.EX_CONFIG
    assert "Address already in use" in "\n".join(toril.lines)


def test_an_address_for_everybody_is_warned_of(redis_url):
    with run(redis_url, listen="0.0.0.0:0").ready() as toril:
        (warning,) = toril.wait_for("health-exposed")
    assert "without a password" in warning["message"]
