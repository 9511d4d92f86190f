"""A proxy in front of a server that makes the network's faults, when a test says so.

It runs an event loop in a thread of its own, so that blocking and asyncio clients can both be
tested. It knows nothing of Redis: a request is what a client has sent, a reply the next bytes that
the server sends. Warm a connection up (log in, load scripts) before a fault is wanted.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

_CHUNK_BYTES = 65536
_START_TIMEOUT_S = 10.0


@dataclass
class _Faults:
    """What goes wrong from now on.

    Attributes:
        cuts: so many replies are cut.
        passed_share: of a cut reply that still gets through, 0 to 1.
        delay_s: every reply comes so much later.
        bytes_per_s: of the replies; None for no bound.
        is_blackhole: what is sent, either way, vanishes.
    """

    cuts: int = 0
    passed_share: float = 0.0
    delay_s: float = 0.0
    bytes_per_s: float | None = None
    is_blackhole: bool = False


class FaultProxy:
    """Listens where `url` says and hands everything to and from the server; a context manager.

    Args:
        target: socket path of the server.
        directory: for our unix socket; None listens on a port of the loopback instead.

    Attributes:
        url: where clients connect.
        were_cut: replies that were cut so far.
    """

    def __init__(self, target: str, directory: Path | None = None) -> None:
        self._target = target
        self._listener = socket.socket(socket.AF_UNIX if directory else socket.AF_INET)
        if directory is not None:
            self._listener.bind(str(directory / "p"))
            self.url = f"unix://{directory / 'p'}?db=0"
        else:
            self._listener.bind(("127.0.0.1", 0))
            self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self.were_cut = 0
        self._faults = _Faults()
        self._ends: set[asyncio.StreamWriter] = set()
        self._accepted: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault proxy", daemon=True)

    # -- verbs

    def cut(self, count: int = 1) -> None:
        """The next requests are executed; instead of their reply the connection ends."""
        self._do(lambda: self._change(cuts=count, passed_share=0.0))

    def cut_in_reply(self, count: int = 1) -> None:
        """The next requests are executed; the connection ends in the middle of their reply."""
        self._do(lambda: self._change(cuts=count, passed_share=0.5))

    def delay(self, seconds: float) -> None:
        """Every reply comes later from now on."""
        self._do(lambda: self._change(delay_s=seconds))

    def bandwidth(self, bytes_per_s: float) -> None:
        """Replies trickle from now on."""
        self._do(lambda: self._change(bytes_per_s=bytes_per_s))

    def blackhole(self) -> None:
        """Connections stay and are made, and nothing gets through, for good."""
        self._do(lambda: self._change(is_blackhole=True))

    def reset(self) -> None:
        """End every connection at once, whatever is under way."""
        self._do(self._reset)

    def heal(self) -> None:
        """No more faults; what vanished stays gone."""
        self._do(lambda: setattr(self, "_faults", _Faults()))

    # -- life

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_START_TIMEOUT_S):
            raise RuntimeError("the proxy does not start")
        return self

    def __exit__(self, *_exc: object) -> None:
        self._do(self._end.set)
        self._thread.join()

    def _do(self, change: Callable[[], None]) -> None:
        """Carry a change out on the loop, and return when it is done."""

        async def changed() -> None:
            change()

        asyncio.run_coroutine_threadsafe(changed(), self._loop).result(_START_TIMEOUT_S)

    def _change(self, **faults: float | bool) -> None:
        for name, value in faults.items():
            setattr(self._faults, name, value)

    def _reset(self) -> None:
        for end in list(self._ends):
            _abort(end)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, sock=self._listener)
        self._ready.set()
        await self._end.wait()
        server.close()
        self._reset()
        if self._accepted:
            await asyncio.wait(self._accepted)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._accepted.add(task)
        task.add_done_callback(self._accepted.discard)
        try:
            source, target = await asyncio.open_unix_connection(self._target)
        except OSError:
            await self._ended(writer)
            return
        self._ends |= {writer, target}
        await _first_ended([self._requests(reader, target), self._replies(source, writer)])
        await self._ended(writer, target)

    async def _ended(self, *writers: asyncio.StreamWriter) -> None:
        for writer in writers:
            self._ends.discard(writer)
            _abort(writer)
            with suppress(OSError):
                await writer.wait_closed()

    async def _requests(self, client: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while request := await client.read(_CHUNK_BYTES):
            if not self._faults.is_blackhole:
                server.write(request)
                await server.drain()

    async def _replies(self, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while reply := await server.read(_CHUNK_BYTES):
            faults = self._faults
            if faults.is_blackhole:
                continue
            if faults.cuts > 0:
                faults.cuts -= 1
                client.write(reply[: int(len(reply) * faults.passed_share)])
                await client.drain()
                self.were_cut += 1
                client.close()
                return
            await asyncio.sleep(faults.delay_s)
            await self._trickle(reply, client)

    async def _trickle(self, reply: bytes, client: asyncio.StreamWriter) -> None:
        while reply:
            rate = self._faults.bytes_per_s
            size = len(reply) if rate is None else max(1, int(rate / 100))
            client.write(reply[:size])
            await client.drain()
            reply = reply[size:]
            if rate is not None:
                await asyncio.sleep(size / rate)


async def _first_ended(pumps: list[Coroutine[None, None, None]]) -> None:
    tasks = [asyncio.ensure_future(pump) for pump in pumps]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
        with suppress(OSError, asyncio.CancelledError):
            await task


def _abort(writer: asyncio.StreamWriter) -> None:
    """End a connection without a farewell: on TCP with a RST."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_INET and sock.fileno() >= 0:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
