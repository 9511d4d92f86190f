"""What a service manager is told: the datagrams, byte for byte, on a socket of our own."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from toril.supervisor.health import Complaint, Health
from toril.supervisor.service.beat import QueueState, status_of, title_of
from toril.supervisor.service.notify import Notifier, credential, is_journal


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """(socket, value of NOTIFY_SOCKET)"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(5)
        if request.param == "path":
            address = str(tmp_path / "notify")
            listening.bind(address)
        else:
            address = f"@toril-test-{os.getpid()}-{time.monotonic_ns()}"
            listening.bind("\0" + address[1:])
        yield listening, address


def test_each_word_is_one_datagram(manager):
    listening, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.ready()
    notifier.status("one\nline")
    notifier.status("one\nline")
    notifier.alive()
    notifier.extend(1.5)
    notifier.stopping()
    said = [listening.recv(4096).decode() for _ in range(5)]
    assert said == [
        "READY=1",
        "STATUS=one line",
        "WATCHDOG=1",
        "EXTEND_TIMEOUT_USEC=1500000",
        "STOPPING=1",
    ]


def test_a_reload_carries_the_monotonic_clock(manager):
    listening, address = manager
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    Notifier({"NOTIFY_SOCKET": address}).reloading()
    first, _, second = listening.recv(4096).decode().partition("\n")
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) >= before_us


def test_a_manager_that_does_not_listen_troubles_nobody(tmp_path):
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()
    Notifier({}).ready()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "deaf")})
        for _ in range(5000):
            notifier.alive()


@pytest.mark.parametrize(
    ("usec", "pid", "expected_s"),
    [
        ("20000000", "", 20.0),
        ("20000000", "own", 20.0),
        ("20000000", "1", None),
        ("0", "", None),
        ("soon", "", None),
        ("", "", None),
    ],
)
def test_the_watchdog_is_fed_only_where_it_waits_for_us(usec, pid, expected_s):
    pid = pid.replace("own", str(os.getpid()))
    environ = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}
    assert Notifier(environ).watchdog_s == expected_s


def test_a_credential_is_a_file_of_the_manager(tmp_path):
    (tmp_path / "redis-password").write_text("secret")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert credential("redis-password", environ) == tmp_path / "redis-password"
    assert credential("other", environ) is None
    assert credential("redis-password", {}) is None


def test_the_journal_is_known_by_device_and_inode(tmp_path):
    with Path(tmp_path, "log").open("w") as file:
        found = os.fstat(file.fileno())
        environ = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert is_journal(file.fileno(), environ)
        assert not is_journal(file.fileno(), {"JOURNAL_STREAM": "1:2"})
        assert not is_journal(file.fileno(), {})
    assert not is_journal(file.fileno() if not file.closed else 9999, environ)


def test_the_status_line_begins_with_what_is_wrong():
    states = [QueueState("a", 1, 2), QueueState("b", 0, 4)]
    sick = {"a": Health(), "b": Health((Complaint("Redis last answered 9.0 s ago"),))}
    assert title_of(states) == "toril: a [1/2 busy] b [0/4 busy]"
    assert status_of(states, {"a": Health()}, is_stopping=False) == "a 1/2 busy, b 0/4 busy"
    assert status_of(states, sick, is_stopping=True) == (
        "b: Redis last answered 9.0 s ago; stopping, a 1/2 busy, b 0/4 busy"
    )


@pytest.mark.parametrize(
    ("complaints", "is_live"),
    [
        ((), True),
        ((Complaint("Redis is away"),), True),
        ((Complaint("Redis is away"), Complaint("the loop stands", is_stuck=True)), False),
    ],
)
def test_only_what_a_restart_mends_ends_a_life(complaints, is_live):
    assert Health(complaints).is_live is is_live
