"""The zygote: exec'd, single-threaded, preloads the processor, then forks children on request.

Run as `python -I -m toril.sandbox.zygote <fd of the control socket>`. It reports every child's end
with status and CPU time, and leaves nothing of a dead child's process tree behind.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import setproctitle

from toril.errors import ProcessorImportError, SandboxUnavailable
from toril.sandbox import child, confine, control, preload, proc, tree, trial, wall
from toril.sandbox.allow import Allow
from toril.sandbox.levels import WALLED, Level, require
from toril.sandbox.limits import Limits
from toril.sandbox.named import UserCode
from toril.sandbox.workplace import Workplace, Workplaces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toril.sandbox.control import Message
    from toril.sandbox.processor import Processor


def main(channel: socket.socket) -> int:
    """Configure, preload, report, then serve; returns the exit code."""
    received = control.receive(channel)
    if received is None:
        return 0
    orders = received[0]
    faulthandler.enable(file=2)
    proc.die_with_parent(orders["supervisor_pid"], signal.SIGKILL)
    proc.adopt_orphans()
    proc.set_dumpable(dumpable=False)
    os.setsid()
    setproctitle.setproctitle(f"toril: {orders['queue']} zygote")
    confine.open_streams()
    try:
        zygote = _prepare(channel, orders)
        confine.flush_streams()
    except SandboxUnavailable as refusal:
        control.send(channel, _refused(refusal))
        return os.EX_CONFIG
    signal.signal(_ORPHANED, _end_soon)
    proc.die_with_parent(orders["supervisor_pid"], _ORPHANED)
    control.send(channel, {"is": "ready", "hears": zygote.hears, "missing": zygote.missing})
    return zygote.serve()


def _prepare(channel: socket.socket, orders: Message) -> _Zygote:
    wants = _wants(orders)
    require(wants.level)
    _reserve_low_fds()
    sys.path[:] = orders["python_path"] + [
        entry for entry in sys.path if entry not in orders["python_path"]
    ]
    os.chdir(orders["working_directory"])
    processor: Processor | None = None
    shared_fds: list[int] = []
    if orders["import_in"] == "zygote":
        control.send(channel, {"is": "importing"})
        processor, shared_fds = preload.load(
            UserCode(**orders["code"]), has_hidden=orders["has_hidden"]
        )
    confine.reset_signals()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A service manager may signal the whole group: the supervisor alone decides who stops.
        signal.signal(number, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    gc.disable()
    zygote = _Zygote(channel, orders, _Prepared(processor, shared_fds, wall.build(wants)))
    zygote.try_out()
    return zygote


def _wants(orders: Message) -> wall.Wants:
    return wall.Wants(
        level=Level(orders["level"]),
        allow=Allow.from_message(orders["allow"]),
        waive=frozenset(orders["waive"]),
        processor=orders["code"]["path"],
        python_path=orders["python_path"],
        work_root=orders["work_root"],
    )


def _reserve_low_fds() -> None:
    """Keep imports from opening a file under a number that children use for their own."""
    while (fd := os.open(os.devnull, os.O_RDONLY)) <= confine.LAST_FD:
        continue
    os.close(fd)


def _end_soon(_signal: int, _stack: object) -> None:
    """The supervisor is dead: the closed socket ends us, and if that fails, the alarm does."""
    signal.alarm(_LAST_S)


def _refused(refusal: SandboxUnavailable) -> Message:
    return {
        "is": "refused",
        "is_import": isinstance(refusal, ProcessorImportError),
        "reason": refusal.reason,
        "remedy": refusal.remedy,
        "level": refusal.level,
        "missing": refusal.missing,
        "traceback": getattr(refusal, "traceback", ""),
    }


_ORPHANED = signal.SIGUSR1
"""Tells of the supervisor's death. Not SIGKILL: what children leave behind is swept first."""

_LAST_S = 10
"""From the supervisor's death to ours at the latest; chosen: five times the longest sweep."""


_REMOVAL_S = 0.01
"""For removing work directories between two looks at what there is to do; chosen: a fork waits no
longer."""

_LAST_REMOVAL_S = 3.0
"""The same at the end; chosen: less than the supervisor waits. It removes what is left."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What all children have in common: processor, read-only files it holds open, wall."""

    processor: Processor | None
    shared_fds: list[int]
    wall: wall.Wall


def _workplaces(orders: Message, prepared: _Prepared) -> Workplaces | None:
    if prepared.wall.level not in WALLED:
        return None
    return Workplaces(orders["work_root"], prepared.wall.files)


@dataclass(slots=True)
class _Forked:
    number: int
    pid: int
    workplace: str


class _Zygote:
    def __init__(self, channel: socket.socket, orders: Message, prepared: _Prepared) -> None:
        self._channel = channel
        self._orders = orders
        self._limits = Limits(**orders["limits"])
        self._prepared = prepared
        self._places = _workplaces(orders, prepared)
        self._children: dict[int, _Forked] = {}
        self._poll = select.poll()

    @property
    def hears(self) -> list[str] | None:
        """Events that its listeners take; None where that is not known yet, or it has none."""
        processor = self._prepared.processor
        return list(processor.hears) if processor is not None else None

    @property
    def missing(self) -> list[str]:
        """Waived mechanisms that this host lacks."""
        return sorted(self._prepared.wall.missing)

    def try_out(self) -> None:
        """Put the wall around a process that is thrown away.

        Raises:
            SandboxUnavailable: it does not hold.
        """
        if self._places is None:
            return
        place = self._places.take()
        plan = self._plan(0, (-1, -1, -1, -1), place)
        trial.hold(plan, confine.steps(plan))
        self._places.clear_away(place.path)
        self._leave_place(place)

    def serve(self) -> int:
        """Fork and bury until the supervisor says stop, or is gone."""
        self._poll.register(self._channel, select.POLLIN)
        while True:
            is_busy = self._places is not None and self._places.has_work
            for fd, _ in self._poll.poll(0 if is_busy else None):
                if fd in self._children:
                    self._bury(fd)
                elif not self._obey():
                    self._stop()
                    return 0
            if self._places is not None:
                self._places.remove_for(_REMOVAL_S)

    def _obey(self) -> bool:
        """Take one message; False when there is nothing more to do."""
        received = control.receive(self._channel)
        if received is None or received[0]["do"] == "stop":
            return False
        message, fds = received
        try:
            preload.refuse_threads(())
            self._fork(message, fds)
        except (SandboxUnavailable, OSError) as refusal:
            self._say({"is": "not-forked", "number": message["number"], "reason": str(refusal)})
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _fork(self, message: Message, fds: list[int]) -> None:
        place = self._place()
        plan = self._plan(message["slot"], fds, place)
        confine.flush_streams()
        try:
            pid = os.fork()
        except OSError:
            if self._places is not None:
                self._places.put_back(place)
            raise
        if pid == 0:
            # Its number will be another file's: a collected socket object must not close that.
            self._channel.detach()
            child.main(plan, self._prepared.processor)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = _Forked(message["number"], pid, place.path)
        self._poll.register(pidfd, select.POLLIN)
        self._say({"is": "forked", "number": message["number"], "pid": pid}, [pidfd])
        self._leave_place(place)

    def _place(self) -> Workplace:
        if self._places is None:
            return Workplace(str(self._orders["working_directory"]), None)
        return self._places.take()

    def _leave_place(self, place: Workplace) -> None:
        """The child has it; make the next one while it starts."""
        if place.rules_fd is not None:
            os.close(place.rules_fd)
        if self._places is not None:
            self._places.prepare()

    def _plan(self, slot: int, fds: Sequence[int], place: Workplace) -> confine.Plan:
        data_fd, stdout_fd, stderr_fd, stack_fd = fds
        return confine.Plan(
            queue=self._orders["queue"],
            slot=slot,
            limits=self._limits,
            nice=self._orders["nice"],
            working_directory=place.path,
            wall=self._prepared.wall,
            zygote_pid=os.getpid(),
            code=UserCode(**self._orders["code"]),
            has_hidden=self._orders["has_hidden"],
            shared_fds=self._prepared.shared_fds,
            data_fd=data_fd,
            stdout_fd=stdout_fd,
            stderr_fd=stderr_fd,
            stack_fd=stack_fd,
            rules_fd=place.rules_fd,
        )

    def _bury(self, pidfd: int) -> None:
        """Reap a dead child and its tree, then report it."""
        forked = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(forked.pid, signal.SIGKILL)
        _, status, usage = os.wait4(forked.pid, 0)
        os.close(pidfd)
        swept = tree.sweep_strangers({one.pid for one in self._children.values()})
        self._say(
            {
                "is": "reaped",
                "number": forked.number,
                "status": status,
                "cpu_ms": (usage.ru_utime + usage.ru_stime) * 1000,
                "swept": swept,
            }
        )
        if self._places is not None:
            self._places.clear_away(forked.workplace)

    def _stop(self) -> None:
        for pidfd in self._children:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        for pidfd in list(self._children):
            self._bury(pidfd)
        tree.sweep_strangers(set())
        if self._places is not None:
            self._places.close(_LAST_REMOVAL_S)

    def _say(self, message: dict[str, Any], fds: tuple[int, ...] | list[int] = ()) -> None:
        """Report; a supervisor that is gone does not hear it, and the next read ends the loop."""
        with suppress(OSError):
            control.send(self._channel, message, fds)


if __name__ == "__main__":
    sys.exit(main(socket.socket(fileno=int(sys.argv[1]))))
