"""Asks a health endpoint as a probe does: one connection, one GET, over a port or a socket file."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

from tests.unit.test_metrics import read

UNIX = "unix:"


def connected(address: str, timeout_s: float = 20) -> socket.socket:
    """A connection to `HOST:PORT` or `unix:/path`."""
    if address.startswith(UNIX):
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(timeout_s)
        one.connect(address.removeprefix(UNIX))
        return one
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout_s)


def said(address: str, raw: bytes) -> tuple[int, dict[str, str], str]:
    """What is answered to these bytes: status, headers, body."""
    with connected(address) as one:
        one.sendall(raw)
        reply = b""
        while chunk := one.recv(65536):
            reply += chunk
    head, _, body = reply.decode().partition("\r\n\r\n")
    first, *fields = head.split("\r\n")
    return int(first.split()[1]), dict(field.split(": ", 1) for field in fields), body


def ask(address: str, path: str) -> tuple[int, str]:
    """Status and body of a GET."""
    request = f"GET {path} HTTP/1.1\r\nHost: probe\r\nUser-Agent: test\r\n\r\n"
    status, headers, body = said(address, request.encode())
    assert int(headers["Content-Length"]) == len(body.encode())
    return status, body


def ask_until(address: str, path: str, status: int, words: str = "", timeout_s: float = 30) -> str:
    """The body, once it is answered with that status and holds those words."""
    until_s = time.monotonic() + timeout_s
    while True:
        found, body = ask(address, path)
        if found == status and words in body:
            return body
        assert time.monotonic() < until_s, (found, body)
        time.sleep(0.05)


def metrics_until(address: str, name: str, is_it, timeout_s: float = 30):
    """The metrics, once a sample's values by label are so."""
    until_s = time.monotonic() + timeout_s
    while True:
        _status, body = ask(address, "/metrics")
        found = read(body)
        with suppress(KeyError):
            if is_it(found[name]):
                return found
        assert time.monotonic() < until_s, (name, found.get(name))
        time.sleep(0.1)
