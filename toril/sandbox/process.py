"""What the supervisor holds of a child's process: pidfd, pipes, socket, and what measures it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

from toril.call import Usage
from toril.sandbox import tree
from toril.sandbox.capture import Capture
from toril.sandbox.channel import Channel, Owner
from toril.sandbox.deaths import Death
from toril.sandbox.listener import ChildExit
from toril.sandbox.stack import StackReader
from toril.sandbox.usage import Meter
from toril.sandbox.watch import Guarded, Watch

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from toril.sandbox.descriptors import Ends
    from toril.sandbox.disk_watch import DiskWatch
    from toril.sandbox.limits import Limits


class Owned(Owner, Guarded, Protocol):
    """The child, as its channel and its watch know it."""


class Process:
    """One child's process, from the request for it until `close`.

    Attributes:
        pid: None until the zygote has forked it.
        channel: its data socket.
        prefetch: calls that lie ready for it.
        capture: its stdout and stderr.
        meter: None until it is READY.
        watch: over it, and over the call at work.
        death: how it ended, as far as anybody knows.
        was_killed: by us.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        ends: Ends,
        owner: Owned,
        on_lines: Callable[[str, list[str]], None],
    ) -> None:
        self.pid: int | None = None
        self.channel = Channel(ends.data, limits.result_bytes, owner)
        self.prefetch = ends.prefetch
        self.capture = Capture(loop, (ends.stdout, ends.stderr), limits, on_lines)
        self.meter: Meter | None = None
        self.watch = Watch(loop, limits, owner)
        self._meter_of_start: Meter | None = None
        self._ready_at_s: float | None = None
        self.death = Death()
        self.was_killed = False
        self._loop = loop
        self._pidfd: int | None = None
        self._stack = StackReader(loop, ends.stack)
        self._disk: tuple[DiskWatch, str] | None = None

    def watch_disk(self, disk: DiskWatch, directory: str) -> None:
        """While it runs a call, this work directory is looked at; to be told before it is born."""
        self._disk = disk, directory

    def born(self, pid: int, pidfd: int, on_death: Callable[[], None]) -> None:
        """It exists; `pidfd` is ours from now on."""
        self.pid, self._pidfd = pid, pidfd
        self._loop.add_reader(pidfd, on_death)
        if self._disk is not None:
            disk, directory = self._disk
            self.watch.look_at_disk = partial(disk.look, directory, pid)
        self._meter_of_start = Meter(pid)
        self.watch.guard(self._meter_of_start)

    @property
    def age_s(self) -> float | None:
        """Since READY; None before."""
        return None if self._ready_at_s is None else self._loop.time() - self._ready_at_s

    @property
    def growth_bytes(self) -> int | None:
        """Growth of its resident size since READY, after its last call; None before READY."""
        return None if self.meter is None else self.meter.growth_bytes

    def ready(self) -> None:
        """It is set up: age and growth are counted from here."""
        self._ready_at_s = self._loop.time()
        if self.pid is not None and self.meter is None:
            self.meter = Meter(self.pid)
            self.watch.guard(self.meter)
            self._close_meter_of_start()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing when it is gone."""
        if self._pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """SIGKILL; what it said and was not read yet is forgotten."""
        self.channel.close()
        self.was_killed = True
        self.signal(signal.SIGKILL)

    def ask_stack(self, callback: Callable[[str], None]) -> None:
        """Call back within about a second with its Python stack; empty: it does not answer."""
        if self.pid is None or self._pidfd is None:
            self._loop.call_soon(callback, "")
        else:
            self._stack.ask(self.pid, self._pidfd, callback)

    def measure(self, *, is_alive: bool, peak_bytes: int | None) -> Usage:
        """What the call at work has used; its peak as the child says."""
        if self.meter is None:
            return Usage()
        return self.meter.stop(
            is_alive=is_alive, total_cpu_ms=self.death.cpu_ms, peak_bytes=peak_bytes
        )

    def turn(self) -> None:
        """All that it sent together is taken."""
        if self.meter is not None:
            self.meter.turn()

    def exit(self, *, expected: bool, ran: int, is_orphan: bool) -> ChildExit:
        """How it left; the arguments are as in `ChildExit`."""
        return ChildExit(
            pid=self.pid,
            exit_code=self.death.exit_code,
            signal=self.death.signal,
            expected=expected,
            ran=ran,
            stderr_tail=self.capture.output.stderr_tail,
            is_orphan=is_orphan,
        )

    def died(self) -> None:
        """Its pidfd told."""
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)

    def reap_orphan(self) -> None:
        """Learn how it ended, if it is ours to reap: its zygote is dead, we may be a subreaper."""
        status = tree.reap(self.pid) if self.pid else None
        if status is not None:
            self.death = Death.from_status(status, None)

    def close(self) -> None:
        """Hand out what it printed last, and let go of everything."""
        self.channel.close()
        self.prefetch.close()
        self.capture.close()
        self._stack.close()
        self.watch.close()
        self._close_meter_of_start()
        if self.meter is not None:
            self.meter.close()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def _close_meter_of_start(self) -> None:
        if self._meter_of_start is not None:
            self._meter_of_start.close()
            self._meter_of_start = None
