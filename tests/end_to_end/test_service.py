"""A supervisor under a service manager: what it says on the notification socket, and when."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest

from tests.support.toril import TorilRun
from toril import Queue
from toril.supervisor.health import Complaint, Health
from toril.supervisor.service.beat import Beat
from toril.supervisor.service.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROCESSORS = "tests.end_to_end.processors:processors"


class Manager:
    """The manager's end of the notification socket: every datagram with when it came."""

    def __init__(self, directory: Path) -> None:
        self.address = str(directory / "notify")
        self.said: list[tuple[float, str]] = []
        self._changed = threading.Condition()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self.address)
        self._thread.join()
        self._socket.close()

    def wait_for(self, is_it: Callable[[str], bool], after_s: float = 0.0) -> str:
        """The first word of that kind that came after then."""
        deadline_s = time.monotonic() + 20
        with self._changed:
            while True:
                for at_s, word in self.said:
                    if at_s > after_s and is_it(word):
                        return word
                left_s = deadline_s - time.monotonic()
                assert left_s > 0, self.said
                self._changed.wait(left_s)

    def _listen(self) -> None:
        while datagram := self._socket.recv(4096):
            with self._changed:
                self.said.append((time.monotonic(), datagram.decode()))
                self._changed.notify_all()


@pytest.fixture
def manager(tmp_path):
    with Manager(tmp_path) as listening:
        yield listening


def run(url: str, manager: Manager, *flags: str) -> TorilRun:
    environ = {
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": "800000",
        "CREDENTIALS_DIRECTORY": "/run/credentials/toril",
    }
    return TorilRun("served", PROCESSORS, url, "--concurrency", "1", *flags, environ=environ)


def is_ping(word: str) -> bool:
    return word == "WATCHDOG=1"


def test_ready_status_pings_and_a_stop_that_asks_for_time(redis_url, manager):
    with Queue("served", redis=redis_url) as queue, run(redis_url, manager) as toril:
        assert manager.wait_for(lambda word: "=" in word) == "READY=1"
        toril.ready()
        manager.wait_for(is_ping)
        queue.add("nap", {"seconds": 1.5})
        manager.wait_for(lambda word: word == "STATUS=served 1/1 busy")
        toril.stop()
        manager.wait_for(lambda word: word == "STOPPING=1")
        manager.wait_for(lambda word: word.startswith("STATUS=stopping, served 1/1"))
        manager.wait_for(lambda word: word.startswith("EXTEND_TIMEOUT_USEC="))
        assert toril.exit_code() == 0
        assert queue.counts()["completed"] == 1


def test_nothing_of_the_manager_reaches_a_child(redis_url, manager):
    with Queue("served", redis=redis_url) as queue, run(redis_url, manager).ready():
        seen = set(queue.add("environ").wait("10s"))
    assert not seen & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY"}


@pytest.mark.slow
def test_pings_go_on_while_redis_is_away_and_the_status_says_so(private_server, manager):
    """A restart would end running jobs and not bring Redis back. (Slow: three polls of silence.)"""
    server = private_server()
    with run(server.url, manager, "--lock-duration", "500ms").ready():
        server.kill()
        manager.wait_for(lambda word: word.startswith("STATUS=served: Redis last answered"))
        manager.wait_for(is_ping, after_s=time.monotonic())
        server.start()
        manager.wait_for(lambda word: word == "STATUS=served 0/1 busy", after_s=time.monotonic())


async def test_a_loop_that_stands_feeds_no_watchdog(manager):
    """The pings come from the loop they vouch for, not from a thread beside it."""
    notifier = Notifier({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"})
    beat = Beat(notifier, states=list, health=dict, stop_left_s=lambda: None)
    task = asyncio.create_task(beat.run())
    try:
        await asyncio.to_thread(manager.wait_for, is_ping)
        stood_s = time.monotonic()
        time.sleep(0.6)  # noqa: ASYNC251 - to block the loop is the point
        went_on_s = time.monotonic()
        await asyncio.to_thread(manager.wait_for, is_ping, after_s=went_on_s)
    finally:
        task.cancel()
    # What was sent just before may have been noted just after.
    assert [at_s for at_s, _ in manager.said if stood_s + 0.1 < at_s < went_on_s] == []


async def test_who_is_stuck_feeds_no_watchdog(manager):
    """Only what a restart mends is left to the manager."""
    notifier = Notifier({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"})
    stuck = {"served": Health((Complaint("nothing was claimed", is_stuck=True),))}
    beat = Beat(notifier, states=list, health=lambda: stuck, stop_left_s=lambda: None)
    task = asyncio.create_task(beat.run())
    try:
        await asyncio.to_thread(manager.wait_for, lambda word: word.startswith("STATUS=served: n"))
        await asyncio.sleep(0.3)  # Several beats.
    finally:
        task.cancel()
    assert not any(is_ping(word) for _, word in manager.said)
