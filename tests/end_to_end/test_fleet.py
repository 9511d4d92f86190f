"""Supervisors as others see them: their heartbeats in Redis, `toril status`, `toril top`."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from argparse import Namespace
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.support.tied import tied
from tests.support.toril import ROOT, TorilRun
from tests.support.waiting import until
from toril import Queue
from toril.cli.fleet import FleetStatus
from toril.cli.status import seen
from toril.runtime.drivers import AsyncDriver, BlockingDriver
from toril.supervisor.service import heartbeat
from toril.supervisor.service.heartbeat import SLOW_TIMES, Heartbeat

if TYPE_CHECKING:
    import redis

PROCESSORS = "tests.end_to_end.processors:processors"
OBSERVED = ("-m", "tests.end_to_end.observed", "run")
TORIL = [sys.executable, "-m", "toril"]
INDEX = "bull:seen:toril:fleet"


def run(url: str, *flags: str, queue: str = "seen", beat_s: float = 0.3) -> TorilRun:
    words = ("--concurrency", "2", "--level", "process", *flags)
    environ = {"OBSERVED_BEAT_S": str(beat_s)}
    return TorilRun(queue, PROCESSORS, url, *words, command=OBSERVED, environ=environ)


def show(verb: str, url: str, *words: str) -> tuple[int, str]:
    """Exit code and standard output."""
    done = subprocess.run(
        [*TORIL, verb, "--redis", url, *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    return done.returncode, done.stdout


def status(url: str, *queues: str) -> FleetStatus:
    """What everybody says of these queues, or of all."""
    with closing(BlockingDriver(url)) as driver:
        return driver.run(seen(Namespace(queue=list(queues), here=False), "bull"))


def record(client: redis.Redis) -> dict | None:
    for nonce in client.zrange(INDEX, 0, -1):
        if raw := client.get(INDEX.encode() + b":" + nonce):
            return json.loads(raw)
    return None


def test_a_heartbeat_appears_is_renewed_and_leaves_at_a_stop(redis_url, redis_client):
    with run(redis_url).ready() as toril:
        first = until(lambda: record(redis_client))
        assert (first["host"], first["pid"]) == (socket.gethostname(), toril.process.pid)
        assert (first["state"], first["queues"], first["complaints"]) == ("working", ["seen"], [])
        until(lambda: record(redis_client)["up_s"] > first["up_s"] + 0.5)
        assert record(redis_client)["round_trip_ms"] > 0
        keys = redis_client.keys("bull:seen:toril:fleet*")
        assert len(keys) == 2
        assert all(0 < redis_client.pttl(key) <= 3_000 for key in keys)
        toril.stop()
        assert toril.exit_code() == 0
    assert redis_client.keys("bull:seen:toril:fleet*") == []


def test_one_that_was_quietened_says_so_at_once(redis_url, redis_client):
    with run(redis_url, beat_s=30).ready() as toril:
        until(lambda: record(redis_client))
        toril.stop(signal.SIGTSTP)
        until(lambda: record(redis_client)["state"] == "quiet")
        toril.stop(signal.SIGCONT)
        until(lambda: record(redis_client)["state"] == "working")


def test_it_says_what_runs_and_that_it_stops(redis_url, redis_client):
    with Queue("seen", redis=redis_url) as queue, run(redis_url).ready() as toril:
        job = queue.add("nap", {"seconds": 30})
        queue.add("x" * 4_000, {})
        until(lambda: (record(redis_client) or {}).get("running") == 1)
        until(lambda: record(redis_client)["settled"] == 1)
        (entry,) = record(redis_client)["jobs"]
        assert (entry["id"], entry["name"]) == (job.id, "nap")
        seconds, _us = redis_client.time()
        assert abs(entry["since_ms"] / 1000 - seconds) < 30
        toril.stop()
        until(lambda: record(redis_client)["state"] == "stopping")


def test_after_a_kill_it_dies_by_itself(redis_url, redis_client):
    with run(redis_url).ready() as toril:
        until(lambda: record(redis_client))
        toril.process.kill()
        toril.process.wait()
        assert redis_client.exists(INDEX)
        until(lambda: not redis_client.keys("bull:seen:toril:fleet*"))
        assert status(redis_url).supervisors == ()


def test_a_redis_that_does_not_take_it_is_told_once_and_jobs_go_on(redis_url, redis_client):
    redis_client.set(INDEX, "taken by something else")
    with Queue("seen", redis=redis_url) as queue, run(redis_url, beat_s=0.05).ready() as toril:
        (refused,) = toril.wait_for("heartbeat-refused")
        assert "WRONGTYPE" in refused["reason"]
        for number in range(20):
            assert queue.add("echo", number).wait("20s") == number
        redis_client.delete(INDEX)
        until(lambda: record(redis_client))
        toril.stop()
        assert toril.exit_code() == 0
        assert len(toril.found("heartbeat-refused")) == 1


async def test_slow_round_trips_in_a_row_are_told_once(redis_url, monkeypatch):
    monkeypatch.setattr(heartbeat, "SLOW_S", 0.0)
    told = []
    driver = AsyncDriver(redis_url)
    beating = Heartbeat(driver, "0" * 32, lambda: {"bull:seen:": b"{}"}, told.append)
    for _ in range(SLOW_TIMES * 3):
        await beating._beat()
    await beating.leave()
    await driver.close()
    assert [type(event).__name__ for event in told] == ["RedisSlow"]
    assert told[0].times == SLOW_TIMES


async def test_a_lost_beat_troubles_nobody(private_server):
    server = private_server()
    told = []
    driver = AsyncDriver(server.url)
    beating = Heartbeat(driver, "0" * 32, lambda: {"bull:seen:": b"{}"}, told.append)
    await beating._beat()
    assert beating.round_trip_s is not None
    server.kill()
    await beating._beat()
    assert beating.round_trip_s is None
    await beating.leave()
    await driver.close()
    assert told == []


def test_status_knows_the_whole_fleet_without_being_told_its_queues(redis_url):
    with (
        Queue("seen", redis=redis_url) as queue,
        run(redis_url).ready() as one,
        run(redis_url).ready() as two,
        run(redis_url, queue="other-ü").ready() as three,
    ):
        queue.add("nap", {"seconds": 30})
        found = until(lambda: len(s := status(redis_url).supervisors) == 3 and s)
        assert {(s.pid, s.queues[0].name) for s in found} == {
            (one.process.pid, "seen"),
            (two.process.pid, "seen"),
            (three.process.pid, "other-ü"),
        }
        until(lambda: sum(s.queues[0].running for s in status(redis_url).supervisors) == 1)
        code, text = show("status", redis_url)
        assert code == 0
        assert text.count("working") == 3
        code, text = show("status", redis_url, "--json", "--queue", "seen", "--here")
        assert code == 0
        # Held against its schema: nothing missing, nothing unknown.
        assert len(msgspec.json.decode(text, type=FleetStatus).supervisors) == 2
        assert len(status(redis_url, "seen").supervisors) == 2
        assert show("status", redis_url, "--queue", "unheard-of")[0] == os.EX_UNAVAILABLE


def test_who_was_not_heard_of_lately_or_complains_makes_the_exit_code_1(redis_url, redis_client):
    now_ms = round(time.time() * 1000)
    shared = {"host": "h", "nonce": "n", "queue": "seen"}
    for nonce, age_ms, fields in (
        ("silent", 20_000, {"pid": 1}),
        ("sick", 0, {"pid": 2, "complaints": ["Redis last answered 20.0 s ago"]}),
        ("well", 0, {"pid": 3}),
    ):
        redis_client.zadd(INDEX, {nonce: now_ms - age_ms})
        redis_client.set(f"{INDEX}:{nonce}", json.dumps(shared | fields))
    code, text = show("status", redis_url, "--queue", "seen")
    assert code == 1
    assert "h 1: not heard of for 2" in text
    assert "h 2: seen: Redis last answered" in text
    assert [s.is_healthy for s in status(redis_url, "seen").supervisors] == [
        False,
        False,
        True,
    ]


def test_foreign_records_spoil_nothing(redis_url, redis_client):
    for nonce, raw in (
        ("a", b"[]"),
        ("b", b"\xff"),
        ("c", b'{"host":"\x1b[2J\\u001b[31m","pid":1}'),
    ):
        redis_client.zadd(INDEX, {nonce: time.time() * 1000})
        redis_client.set(f"{INDEX}:{nonce}", raw)
    good = {"host": "h\x1b[2J[red]", "pid": 7, "nonce": "d", "queue": "seen", "later": {"x": 1}}
    redis_client.zadd(INDEX, {"d": time.time() * 1000})
    redis_client.set(f"{INDEX}:d", json.dumps(good))
    (only,) = status(redis_url, "seen").supervisors
    assert only.pid == 7
    code, text = show("status", redis_url, "--queue", "seen")
    assert code == 0
    assert "\x1b" not in text
    assert "[red]" in text


def test_top_prints_one_snapshot_where_there_is_no_terminal(redis_url, redis_client):
    with Queue("seen", redis=redis_url) as queue, run(redis_url).ready() as toril:
        job = queue.add("nap", {"seconds": 30})
        queue.add("echo", 1, delay="1h")
        until(lambda: (record(redis_client) or {}).get("running") == 1)
        code, text = show("top", redis_url)
        assert code == 0
        assert str(toril.process.pid) in text
        assert any(line.split()[:3] == [job.id, "nap", "seen"] for line in text.splitlines())
        (counts,) = (line.split() for line in text.splitlines() if line.startswith("seen"))
        assert counts[1:5] == ["0", "0", "1", "1"]


class Terminal:
    """A command in a pseudo-terminal, 200 columns wide."""

    def __init__(self, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (40, 200))
        self._theirs = theirs
        self.before = termios.tcgetattr(theirs)
        self.seen = b""
        self.process = subprocess.Popen(
            tied([*TORIL, *words]),
            cwd=ROOT,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color"},
            start_new_session=True,
        )

    def see(self, what: bytes) -> None:
        until_s = time.monotonic() + 30
        while what not in self.seen:
            left_s = until_s - time.monotonic()
            assert left_s > 0, self.seen
            if select.select([self._ours], [], [], left_s)[0]:
                self.seen += os.read(self._ours, 65536)

    def press(self, key: bytes) -> None:
        os.write(self._ours, key)

    def end(self) -> int:
        """Its exit code; the terminal is as it was."""
        while self.process.poll() is None:
            if select.select([self._ours], [], [], 0.1)[0]:
                self.seen += os.read(self._ours, 65536)
        while select.select([self._ours], [], [], 0)[0]:
            self.seen += os.read(self._ours, 65536)
        assert termios.tcgetattr(self._theirs) == self.before
        return self.process.returncode

    def close(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


@pytest.mark.parametrize("leave", ["q", signal.SIGINT, signal.SIGTERM])
def test_top_in_a_terminal_goes_on_until_a_key_and_leaves_it_as_it_was(
    redis_url, redis_client, leave
):
    with Queue("seen", redis=redis_url) as queue, run(redis_url).ready() as toril:
        until(lambda: record(redis_client))
        terminal = Terminal("top", "--redis", redis_url)
        try:
            terminal.see(b"\x1b[?1049h")
            terminal.see(str(toril.process.pid).encode())
            job = queue.add("nap", {"seconds": 30})
            terminal.see(f"{job.id}".encode() + b"  ")
            terminal.press(b"x")
            if leave == "q":
                terminal.press(b"q")
            else:
                terminal.process.send_signal(leave)
            assert terminal.end() == 0
            assert terminal.seen.rstrip().endswith(b"\x1b[?25h") or b"\x1b[?1049l" in terminal.seen
            assert b"Traceback" not in terminal.seen
        finally:
            terminal.close()
