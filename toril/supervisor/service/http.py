"""A little HTTP: one short GET per connection, answered from the loop and bounded in everything.

Not a framework on purpose: what answers a probe must not be able to hold up the loop that renews
locks. A request is a head of some kilobytes, a connection lives some seconds, there are a few of
them, and who is slow is dropped for who comes next. A change must keep: nothing here waits.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

MAX_HEAD_BYTES = 8192
"""Longest head of a request; chosen: a browser's fits."""

MAX_CONNECTIONS = 16
"""At a time; chosen: a few probes, a scraper, a person. One more drops the oldest."""

LIVES_S = 5.0
"""Of a connection, from its first byte to its last; chosen: probes give up after 1 to 10 s."""

TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered.

    Attributes:
        status: of HTTP.
        text: the body.
        kind: its type.
        headers: further ones.
    """

    status: HTTPStatus
    text: str
    kind: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()


if TYPE_CHECKING:
    Answer: TypeAlias = Callable[[str], Reply | Awaitable[Reply]]


class Connections:
    """The connections there are; makes one for each that is accepted.

    Args:
        answer: path → reply, at once or later; it must not raise.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._open: dict[_Connection, None] = {}

    def make(self) -> asyncio.Protocol:
        """A protocol for a connection that was accepted."""
        return _Connection(self._answer, self._open)

    def close(self) -> None:
        """Drop all."""
        for connection in list(self._open):
            connection.drop()


class _Connection(asyncio.Protocol):
    def __init__(self, answer: Answer, others: dict[_Connection, None]) -> None:
        self._answer = answer
        self._open = others
        self._head = b""
        self._is_answered = False
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._later: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # What a stream server makes, though uvloop's is no subclass of it.
        self._transport = cast(asyncio.Transport, transport)
        if len(self._open) >= MAX_CONNECTIONS:
            next(iter(self._open)).drop()
        self._open[self] = None
        self._timer = asyncio.get_running_loop().call_later(LIVES_S, self.drop)

    def data_received(self, data: bytes) -> None:
        if self._is_answered:
            return
        self._head += data
        if len(self._head) > MAX_HEAD_BYTES:
            self._send(_said(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE), with_body=True)
        elif b"\r\n\r\n" in self._head or b"\n\n" in self._head:
            self._reply()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._open.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
        if self._later is not None:
            self._later.cancel()

    def drop(self) -> None:
        """End it now, whatever it does."""
        self._open.pop(self, None)
        if self._transport is not None:
            self._transport.abort()

    def _reply(self) -> None:
        words = self._head.partition(b"\n")[0].decode("latin-1").split()
        if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004 - method, target, version
            self._send(_said(HTTPStatus.BAD_REQUEST), with_body=True)
            return
        method, target, _version = words
        with_body = method != "HEAD"
        if method not in {"GET", "HEAD"}:
            allowed = (("Allow", "GET, HEAD"),)
            self._send(_said(HTTPStatus.METHOD_NOT_ALLOWED, allowed), with_body=True)
            return
        found = self._answer(target.partition("?")[0])
        if isinstance(found, Reply):
            self._send(found, with_body=with_body)
        else:
            self._is_answered = True
            self._later = asyncio.ensure_future(self._send_later(found, with_body=with_body))

    async def _send_later(self, found: Awaitable[Reply], *, with_body: bool) -> None:
        self._send(await found, with_body=with_body)

    def _send(self, reply: Reply, *, with_body: bool) -> None:
        self._is_answered = True
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(encoded(reply, with_body=with_body))
        self._transport.close()


def encoded(reply: Reply, *, with_body: bool) -> bytes:
    """The bytes of a reply."""
    body = reply.text.encode(errors="replace")
    fields = (
        ("Content-Type", reply.kind),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Connection", "close"),
        *reply.headers,
    )
    lines = [f"HTTP/1.1 {reply.status.value} {reply.status.phrase}"]
    lines += [f"{name}: {value}" for name, value in fields]
    return "\r\n".join([*lines, "", ""]).encode() + (body if with_body else b"")


def _said(status: HTTPStatus, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    return Reply(status, status.phrase + "\n", headers=headers)
