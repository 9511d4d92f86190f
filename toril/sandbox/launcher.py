"""The zygote as the supervisor holds it: starts it, asks it for children, hears their ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from toril.call import Verdict
from toril.errors import ProcessorImportError, SandboxUnavailable
from toril.sandbox import control
from toril.sandbox.allow import Allow
from toril.sandbox.capture import Capture
from toril.sandbox.deaths import Death, signal_name
from toril.sandbox.descriptors import close_all, pairs
from toril.sandbox.disk_watch import DiskWatch
from toril.sandbox.handle import Child
from toril.sandbox.launch import Launched, launch, orders
from toril.sandbox.listener import tell
from toril.sandbox.named import UserCode
from toril.sandbox.states import State

if TYPE_CHECKING:
    from toril.sandbox.control import Message
    from toril.sandbox.levels import Level
    from toril.sandbox.limits import Limits
    from toril.sandbox.listener import ChildListener

_LAST_WORDS_S = 1.0
"""From SIGABRT to SIGKILL of a zygote that hangs; chosen: a stack is written in microseconds."""


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
        allow: what processors may have beyond what every child has.
        waive: mechanisms of the level whose absence is accepted.
        threads: threads that numeric libraries may start in a child.
        nice: how far children step back behind the supervisor.
        import_in: `zygote`, once for all children, or `child`, in each for itself: for modules
            that open connections or start threads when they are imported.
        preload_s: longest start of a zygote, the processor's import included.
        is_listeners: the processor is a mapping from event name to listeners.
        backoff: `"module:attribute"` of back-off strategies; empty without.
        child_uid: first of the users that children run as when toril is root; None: the default.
        preload: modules that the zygote imports for children that import the processor themselves.
        hidden: files that no walled child may read, whatever their names.
    """

    queue: str
    processor: str
    level: Level
    limits: Limits
    python_path: list[str]
    working_directory: str
    allow: Allow = field(default_factory=Allow)
    waive: tuple[str, ...] = ()
    threads: int = 1
    nice: int = 5
    import_in: Literal["zygote", "child"] = "zygote"
    preload_s: float = 60.0
    is_listeners: bool = False
    backoff: str = ""
    child_uid: int | None = None
    preload: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()

    @property
    def code(self) -> UserCode:
        """What its children call."""
        return UserCode(self.processor, self.is_listeners, self.backoff)


class Zygote:
    """A running zygote.

    Attributes:
        pid: its process id.
        children: those that have not had `on_gone`.
        hears: events that its listeners take; None where each child imports them.
        missing: waived mechanisms of the level that this host lacks.
        names: job names that its processor has functions for; empty where it takes all, and where
            each child imports it.
    """

    def __init__(
        self,
        spec: ZygoteSpec,
        listener: ChildListener,
        launched: Launched,
    ) -> None:
        """Made by `launch` only."""
        self.pid = launched.process.pid
        self.missing: tuple[str, ...] = ()
        self._spec = spec
        self._listener = listener
        self._launched = launched
        self._process = launched.process
        self._channel = launched.channel
        self._loop = asyncio.get_running_loop()
        self._capture = Capture(self._loop, launched.streams, spec.limits, self._on_lines)
        self._pidfd = launched.pidfd
        self._numbered: dict[int, Child] = {}
        self._numbers: dict[Child, int] = {}
        self._next_number = 1
        self._unsent: deque[tuple[Message, tuple[int, ...]]] = deque()
        self._first_word: asyncio.Future[Message | None] = self._loop.create_future()
        self._disk = DiskWatch(self._loop, spec.allow.tmp_size_bytes)
        self._ended = asyncio.Event()
        self._forgot = asyncio.Event()
        self._is_stopping = False
        self._is_dead = False
        self._is_importing = False
        self._accusation = ""
        self.hears: frozenset[str] | None = None
        self.names: frozenset[str] = frozenset()
        self._loop.add_reader(self._channel, self._on_readable)
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
        zygote = cls.launch(spec, listener)
        await zygote.preload()
        return zygote

    @classmethod
    def launch(cls, spec: ZygoteSpec, listener: ChildListener) -> Zygote:
        """The first half of `start`: its process is there, and its pid known; `preload` follows.

        Raises:
            SandboxUnavailable: as `start` does.
        """
        return cls(spec, listener, launch(spec))

    async def preload(self) -> None:
        """The second half of `start`; raises as it does, and has buried the process then."""
        try:
            self._say(orders(self._spec, self._launched.work_root))
            async with asyncio.timeout(self._spec.preload_s):
                self._check(await asyncio.shield(self._first_word))
        except TimeoutError:
            await self._ask_last_words()
            raise self._too_slow() from None
        except BaseException:
            await self._abandon()
            raise
        self._capture.end()

    def fork(self, slot: int) -> Child:
        """Ask for a child; `on_idle` follows, or `on_gone`.

        Raises:
            SandboxUnavailable: the zygote is gone or stops, or this process is out of fds.
        """
        if self._is_dead or self._is_stopping:
            raise SandboxUnavailable("the zygote is gone", "Start a new one")
        ours, theirs = pairs()
        number, self._next_number = self._next_number, self._next_number + 1
        child = Child(
            slot=slot,
            limits=self._spec.limits,
            listener=self._listener,
            ends=ours,
            zygote=self,
        )
        self._numbered[number] = child
        self._numbers[child] = number
        self._say({"do": "fork", "number": number, "slot": slot}, theirs)
        return child

    def hand_over(self, listener: ChildListener) -> None:
        """From now on somebody else hears of it and of its children."""
        self._listener = listener
        for child in self.children:
            child.listener = listener

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Let idle children end, kill the others; all have had `on_gone` when this returns.

        Args:
            timeout_s: longest time for the zygote itself, after its children.
        """
        self._is_stopping = True
        for child in self.children:
            if child.state is State.IDLE:
                child.retire()
            elif child.state is not State.RETIRING:
                child.kill(Verdict.INTERRUPTED)
        await self._await_retired()
        for child in self.children:
            child.kill(Verdict.INTERRUPTED)
        self._say({"do": "stop"})
        await self._await_end(timeout_s)

    async def _await_retired(self) -> None:
        """Give `teardown()` its time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(self._spec.limits.grace_s, 1.0)):
                while any(child.state is State.RETIRING for child in self.children):
                    self._forgot.clear()
                    await self._forgot.wait()

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

    async def _ask_last_words(self) -> None:
        """End a zygote that hangs: faulthandler says where, if it still can."""
        self._is_stopping = True
        self._process.send_signal(signal.SIGABRT)
        await self._await_end(_LAST_WORDS_S)

    # What it says.

    def _check(self, word: Message | None) -> None:
        """Raise unless it is ready, and still there."""
        if word is None or (self._is_dead and word["is"] == "ready"):
            raise self._died_early()
        if word["is"] == "ready":
            self.hears = None if word["hears"] is None else frozenset(word["hears"])
            self.names = frozenset(word["names"])
            return
        if word["is_import"]:
            raise ProcessorImportError(word["reason"], word["remedy"], word["traceback"])
        raise SandboxUnavailable(
            word["reason"], word["remedy"], level=word["level"], missing=word["missing"]
        )

    def _died_early(self) -> SandboxUnavailable:
        tail = self._capture.output.stderr_tail
        if self._is_importing:
            return ProcessorImportError(
                f"importing {self._spec.code.words} ended the process: it {self._how_it_ended()}",
                "Mend the module: it must not exit or crash when it is imported",
                tail,
            )
        last = f": {tail}" if tail else ""
        return SandboxUnavailable(f"the zygote {self._how_it_ended()} before it was ready{last}")

    def _too_slow(self) -> SandboxUnavailable:
        if not self._is_importing:
            return SandboxUnavailable(f"the zygote did not start in {self._spec.preload_s:g} s")
        return ProcessorImportError(
            f"importing {self._spec.code.words} took more than {self._spec.preload_s:g} s",
            "Move slow work out of the import, into the function that runs the job or setup()",
            self._capture.output.stderr_tail,
        )

    def _on_lines(self, stream: str, lines: list[str]) -> None:
        tell(self._loop, self._listener.on_log, None, None, stream, lines)

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
                if directory := message["work_directory"]:
                    child.process.watch_disk(self._disk, directory)
                child.forked(message["pid"], fds[0])
            case "forked":
                os.close(fds[0])
            case "not-forked" if child is not None:
                child.not_forked(message["reason"])
            case "reaped" if child is not None:
                child.reported(_death(message))
            case "importing":
                self._is_importing = True
            case "ready" | "refused":
                self.missing = tuple(message.get("missing", ()))
                if not self._first_word.done():
                    self._first_word.set_result(message)

    def _say(self, message: Message, fds: tuple[int, ...] = ()) -> None:
        """Send, or keep until the zygote has read what lies before it; `fds` are closed then."""
        if self._is_dead:
            close_all(fds)
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
            close_all(fds)
        self._loop.remove_writer(self._channel)

    # Its end.

    def _on_death(self) -> None:
        self._on_readable()
        self._is_dead = True
        for source in (self._channel, self._pidfd):
            self._loop.remove_reader(source)
        self._loop.remove_writer(self._channel)
        for _, fds in self._unsent:
            close_all(fds)
        self._unsent.clear()
        self._process.wait()
        self._channel.close()
        self._capture.close()
        os.close(self._pidfd)
        self._disk.close()
        self._remove_work_root()
        if not self._first_word.done():
            self._first_word.set_result(None)
        for child in self.children:
            child.zygote_gone()
        self._end_when_empty()

    def _remove_work_root(self) -> None:
        """In a thread, if the zygote could not empty it: it may take long."""
        if not self._launched.is_work_root_gone():
            self._loop.run_in_executor(None, self._launched.remove_work_root)

    def forget(self, child: Child) -> None:
        """Part of `home.Home`."""
        del self._numbered[self._numbers.pop(child)]
        self._forgot.set()
        if self._is_dead:
            self._loop.call_soon(self._end_when_empty)

    def _end_when_empty(self) -> None:
        if self._numbered or self._ended.is_set():
            return
        self._ended.set()
        if not self._is_stopping:
            tell(self._loop, self._listener.on_zygote_gone, self, self._how_it_ended())

    def accuse(self, silence: str) -> None:
        """Part of `home.Home`: nobody can bury its children, another has to take over."""
        self._accusation = self._accusation or f"did not answer {silence}, killed"
        self._process.kill()

    def _how_it_ended(self) -> str:
        code = self._process.returncode
        if self._accusation:
            return self._accusation
        if code is None or code >= 0:
            return f"exited with code {code}"
        return f"was ended by {signal_name(-code)}"


def _death(message: Message) -> Death:
    return Death.from_status(
        message["status"], message["cpu_ms"], was_out_of_memory=message["was_out_of_memory"]
    )
