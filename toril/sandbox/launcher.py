"""The zygote as the supervisor holds it: starts it, asks it for children, hears their ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toril.call import Verdict
from toril.errors import ProcessorImportError, SandboxUnavailable
from toril.sandbox import control, environment
from toril.sandbox.handle import Child
from toril.sandbox.levels import Level, require
from toril.sandbox.listener import tell
from toril.sandbox.outcomes import Death, signal_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toril.sandbox.control import Message
    from toril.sandbox.limits import Limits
    from toril.sandbox.listener import ChildListener


@dataclass(frozen=True, slots=True)
class ZygoteSpec:
    """What a zygote preloads, and what its children may do.

    Attributes:
        queue: the queue's name, for process titles.
        processor: `"module:attribute"`.
        level: how strongly children are isolated.
        limits: what each child may use.
        python_path: import path of the supervisor.
        working_directory: where processors run.
        env_names: variables that are let through, beyond the fixed few.
        threads: threads that numeric libraries may start in a child.
        nice: how far children step back behind the supervisor.
    """

    queue: str
    processor: str
    level: Level
    limits: Limits
    python_path: list[str]
    working_directory: str
    env_names: tuple[str, ...] = ()
    threads: int = 1
    nice: int = 5


class Zygote:
    """A running zygote.

    Attributes:
        pid: its process id.
        children: those that have not had `on_gone`.
    """

    def __init__(
        self,
        spec: ZygoteSpec,
        listener: ChildListener,
        process: subprocess.Popen[bytes],
        channel: socket.socket,
    ) -> None:
        """Made by `start` only."""
        self.pid = process.pid
        self._spec = spec
        self._listener = listener
        self._process = process
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(process.pid)
        self._numbered: dict[int, Child] = {}
        self._numbers: dict[Child, int] = {}
        self._next_number = 1
        self._unsent: deque[tuple[Message, tuple[int, ...]]] = deque()
        self._first_word: asyncio.Future[Message | None] = self._loop.create_future()
        self._ended = asyncio.Event()
        self._is_stopping = False
        self._is_dead = False
        self._loop.add_reader(channel, self._on_readable)
        self._loop.add_reader(self._pidfd, self._on_death)

    @property
    def children(self) -> list[Child]:
        """The children that have not had `on_gone`."""
        return list(self._numbered.values())

    @classmethod
    async def start(cls, spec: ZygoteSpec, listener: ChildListener) -> Zygote:
        """Start a zygote and wait until it has preloaded the processor.

        Raises:
            ProcessorImportError: the processor cannot be imported, or is not one.
            SandboxUnavailable: the level cannot be enforced, the import left something open, or
                the zygote did not start.
        """
        require(spec.level)
        zygote = cls(spec, listener, *_launch(spec))
        await zygote.preload()
        return zygote

    async def preload(self) -> None:
        """Part of `start`."""
        try:
            self._say(_orders(self._spec))
            _check(await self._first_word, self._process)
        except BaseException:
            await self._abandon()
            raise

    def fork(self, slot: int) -> Child:
        """Ask for a child; `on_idle` follows, or `on_gone`.

        Raises:
            SandboxUnavailable: the zygote is gone or stops, or this process is out of fds.
        """
        if self._is_dead or self._is_stopping:
            raise SandboxUnavailable("the zygote is gone", "Start a new one")
        ours, theirs = _ends()
        number, self._next_number = self._next_number, self._next_number + 1
        child = Child(
            slot=slot,
            limits=self._spec.limits,
            listener=self._listener,
            ends=ours,
            on_buried=self._forget,
        )
        self._numbered[number] = child
        self._numbers[child] = number
        self._say({"do": "fork", "number": number, "slot": slot}, theirs)
        return child

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Kill what is left; every child has had `on_gone` when this returns."""
        self._is_stopping = True
        for child in self.children:
            child.kill(Verdict.INTERRUPTED)
        self._say({"do": "stop"})
        await self._await_end(timeout_s)

    async def _abandon(self) -> None:
        self._is_stopping = True
        self._process.kill()
        await self._await_end(None)

    async def _await_end(self, timeout_s: float | None) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()
        except TimeoutError:
            self._process.kill()
            await self._ended.wait()

    # What it says.

    def _on_readable(self) -> None:
        while True:
            try:
                received = control.receive(self._channel)
            except BlockingIOError:
                return
            if received is None:
                self._loop.remove_reader(self._channel)
                return
            self._hear(*received)

    def _hear(self, message: Message, fds: list[int]) -> None:
        child = self._numbered.get(message.get("number", 0))
        match message["is"]:
            case "forked" if child is not None:
                child.forked(message["pid"], fds[0])
            case "forked":
                os.close(fds[0])
            case "not-forked" if child is not None:
                child.not_forked(message["reason"])
            case "reaped" if child is not None:
                child.reported(Death.from_status(message["status"], message["cpu_ms"]))
            case "ready" | "refused":
                if not self._first_word.done():
                    self._first_word.set_result(message)

    def _say(self, message: Message, fds: tuple[int, ...] = ()) -> None:
        """Send, or keep until the zygote has read what lies before it; `fds` are closed then."""
        if self._is_dead:
            _close_all(fds)
            return
        self._unsent.append((message, fds))
        if len(self._unsent) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._unsent:
            message, fds = self._unsent[0]
            try:
                control.send(self._channel, message, fds)
            except BlockingIOError:
                self._loop.add_writer(self._channel, self._flush)
                return
            except OSError:
                pass  # It is gone: its pidfd says so.
            self._unsent.popleft()
            _close_all(fds)
        self._loop.remove_writer(self._channel)

    # Its end.

    def _on_death(self) -> None:
        self._on_readable()
        self._is_dead = True
        for source in (self._channel, self._pidfd):
            self._loop.remove_reader(source)
        self._loop.remove_writer(self._channel)
        for _, fds in self._unsent:
            _close_all(fds)
        self._unsent.clear()
        self._process.wait()
        self._channel.close()
        os.close(self._pidfd)
        if not self._first_word.done():
            self._first_word.set_result(None)
        for child in self.children:
            child.zygote_gone()
        self._end_when_empty()

    def _forget(self, child: Child) -> None:
        del self._numbered[self._numbers.pop(child)]
        if self._is_dead:
            self._loop.call_soon(self._end_when_empty)

    def _end_when_empty(self) -> None:
        if self._numbered or self._ended.is_set():
            return
        self._ended.set()
        if not self._is_stopping:
            reason = _how_it_ended(self._process.returncode)
            tell(self._loop, self._listener.on_zygote_gone, self, reason)


def _launch(spec: ZygoteSpec) -> tuple[subprocess.Popen[bytes], socket.socket]:
    if threading.current_thread() is not threading.main_thread():
        raise SandboxUnavailable(
            "a zygote can be started from the main thread only",
            "Run the event loop in the main thread: the kernel ends a zygote with the thread "
            "that started it",
        )
    env = environment.build(os.environ, spec.env_names, spec.threads)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with theirs:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-m", "toril.sandbox.zygote", str(theirs.fileno())],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=2,
                pass_fds=(theirs.fileno(),),
            )
        except OSError as error:
            ours.close()
            raise SandboxUnavailable(f"the zygote could not be started: {error}") from error
    return process, ours


def _orders(spec: ZygoteSpec) -> dict[str, Any]:
    return {
        "supervisor_pid": os.getpid(),
        "queue": spec.queue,
        "processor": spec.processor,
        "level": spec.level.value,
        "limits": asdict(spec.limits),
        "python_path": [str(Path(entry).absolute()) for entry in spec.python_path],
        "working_directory": spec.working_directory,
        "nice": spec.nice,
    }


def _check(word: Message | None, process: subprocess.Popen[bytes]) -> None:
    if word is None:
        raise SandboxUnavailable(
            f"the zygote {_how_it_ended(process.returncode)} before it was ready",
            "Its last words are on standard error",
        )
    if word["is"] == "ready":
        return
    if word["is_import"]:
        raise ProcessorImportError(word["reason"], word["remedy"], word["traceback"])
    raise SandboxUnavailable(word["reason"], word["remedy"])


def _ends() -> tuple[tuple[socket.socket, int, int], tuple[int, int, int]]:
    """Our ends and the child's ends of data socket, stdout and stderr."""
    with contextlib.ExitStack() as opened:
        try:
            ours, theirs = map(opened.enter_context, socket.socketpair())
            pipes = []
            for fd in (*os.pipe(), *os.pipe()):
                opened.callback(os.close, fd)
                pipes.append(fd)
        except OSError as error:
            raise SandboxUnavailable(
                f"no descriptors for another child: {error}", "Raise the limit on open files"
            ) from error
        opened.pop_all()
    out_read, out_write, err_read, err_write = pipes
    return (ours, out_read, err_read), (theirs.detach(), out_write, err_write)


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)


def _how_it_ended(returncode: int | None) -> str:
    if returncode is None or returncode >= 0:
        return f"exited with code {returncode}"
    return f"was ended by {signal_name(-returncode)}"
