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
from typing import TYPE_CHECKING, Any, NoReturn

import setproctitle

from toril.errors import ProcessorImportError, SandboxUnavailable
from toril.sandbox import birth, child, confine, control, preload, proc, tree, trial, wall
from toril.sandbox.allow import Allow
from toril.sandbox.cgroup import home_of
from toril.sandbox.levels import STRICT, WALLED, Level
from toril.sandbox.limits import Limits
from toril.sandbox.named import UserCode
from toril.sandbox.places import Places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toril.sandbox.birth import Birth
    from toril.sandbox.control import Message
    from toril.sandbox.places import Place
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
    signal.signal(confine.ORPHANED_SIGNAL, _end_soon)
    proc.die_with_parent(orders["supervisor_pid"], confine.ORPHANED_SIGNAL)
    known = {"hears": zygote.hears, "names": zygote.names, "missing": zygote.missing}
    control.send(channel, {"is": "ready", **known})
    return zygote.serve()


def _prepare(channel: socket.socket, orders: Message) -> _Zygote:
    wants = _wants(orders)
    _reserve_low_fds()
    sys.path[:] = orders["python_path"] + [
        entry for entry in sys.path if entry not in orders["python_path"]
    ]
    os.chdir(orders["working_directory"])
    processor: Processor | None = None
    shared_fds: list[int] = []
    if orders["import_in"] == "zygote" and wants.level not in STRICT:
        control.send(channel, {"is": "importing"})
        processor, shared_fds = preload.load(
            UserCode(**orders["code"]), has_hidden=orders["has_hidden"]
        )
    elif orders["preload"]:
        control.send(channel, {"is": "importing"})
        shared_fds = preload.load_libraries(orders["preload"])
    confine.flush_streams()
    confine.open_streams()
    confine.reset_signals()
    confine.leave_to_supervisor()
    built, limits = wall.build(wants), Limits(**orders["limits"])
    places = Places(wants, limits, home_of(orders["cgroup"]), built.files)
    steps = confine.steps(wants.level)
    zygote = _Zygote(channel, orders, _Prepared(processor, shared_fds, built, places, steps))
    zygote.try_out(wants)
    # The last thing before the first fork: what is made later, a collection in a child looks at.
    gc.collect()
    gc.freeze()
    gc.disable()
    return zygote


def _wants(orders: Message) -> wall.Wants:
    return wall.Wants(
        level=Level(orders["level"]),
        allow=Allow.from_message(orders["allow"]),
        waive=frozenset(orders["waive"]),
        processor=orders["code"]["path"],
        python_path=orders["python_path"],
        work_root=orders["work_root"],
        child_uid=orders["child_uid"],
        hidden=orders["hidden"],
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


_LAST_S = 10
"""From the supervisor's death to ours at the latest; chosen: five times the longest sweep."""


_REMOVAL_S = 0.01
"""For removing work directories between two looks at what there is to do; chosen: a fork waits no
longer."""

_LAST_REMOVAL_S = 3.0
"""The same at the end; chosen: less than the supervisor waits. It removes what is left."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What all children have in common; `shared_fds` are read-only files that modules hold open."""

    processor: Processor | None
    shared_fds: list[int]
    wall: wall.Wall
    places: Places
    steps: list[confine.Step]


@dataclass(slots=True)
class _Forked:
    number: int
    pid: int
    place: Place


@dataclass(slots=True)
class _Expected:
    """A child that is on its way, by way of an intermediate."""

    number: int
    birth: Birth
    place: Place


class _Zygote:
    def __init__(self, channel: socket.socket, orders: Message, prepared: _Prepared) -> None:
        self._channel = channel
        self._orders = orders
        self._limits = Limits(**orders["limits"])
        self._prepared = prepared
        self._places = prepared.places
        self._children: dict[int, _Forked] = {}
        self._expected: dict[int, _Expected] = {}
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

    def try_out(self, wants: wall.Wants) -> None:
        """Put the wall around a process that is thrown away.

        Raises:
            SandboxUnavailable: it does not hold.
        """
        if self._prepared.wall.level not in WALLED:
            return
        place = self._places.take()
        self._places.check_reach(place, wants)
        plan = self._plan(0, (-1, -1, -1, -1, -1), place)
        trial.hold(plan, self._prepared.steps)
        self._places.give_back(place)
        self._places.occupied(place)

    @property
    def names(self) -> list[str]:
        """Job names that its processor has functions for; some of them where there are many."""
        processor = self._prepared.processor
        return processor.names if processor is not None else []

    def serve(self) -> int:
        """Fork and bury until the supervisor says stop, or is gone."""
        self._poll.register(self._channel, select.POLLIN)
        while True:
            for fd, _ in self._poll.poll(0 if self._places.has_work else None):
                if fd in self._children:
                    self._bury(fd)
                elif fd in self._expected:
                    self._deliver(fd)
                elif not self._obey():
                    self._stop()
                    return 0
            self._places.work_for(_REMOVAL_S)

    def _obey(self) -> bool:
        """Take one message; False when there is nothing more to do."""
        received = control.receive(self._channel)
        if received is None or received[0]["do"] == "stop":
            return False
        message, fds = received
        place = None
        try:
            preload.refuse_threads(())
            place = self._places.take()
            self._fork(message, fds, place)
        except (SandboxUnavailable, OSError) as refusal:
            self._refuse(message["number"], refusal)
        finally:
            # First of all: as long as it is open here too, nobody sees a dead child's socket end.
            for fd in fds:
                os.close(fd)
            if place is not None:
                self._places.occupied(place)
        return True

    def _refuse(self, number: int, refusal: Exception) -> None:
        self._say({"is": "not-forked", "number": number, "reason": str(refusal)})

    def _fork(self, message: Message, fds: list[int], place: Place) -> None:
        number, plan = message["number"], self._plan(message["slot"], fds, place)
        confine.flush_streams()
        try:
            if plan.wall.level in STRICT:
                self._expect(number, plan)
                return
            pid = os.fork()
        except OSError:
            self._places.give_back(place)
            raise
        if pid == 0:
            self._become(plan)
        self._announce(_Forked(number, pid, place))

    def _become(self, plan: confine.Plan) -> NoReturn:
        """In a fresh fork."""
        # Its number will be another file's: a collected socket object must not close that.
        self._channel.detach()
        child.main(plan, self._prepared.steps, self._prepared.processor)

    def _announce(self, forked: _Forked) -> None:
        """A child is there: from here the supervisor can end it."""
        pidfd = os.pidfd_open(forked.pid)
        self._children[pidfd] = forked
        self._poll.register(pidfd, select.POLLIN)
        news = {"is": "forked", "number": forked.number, "pid": forked.pid}
        self._say(news | {"work_directory": forked.place.on_disk}, [pidfd])

    def _expect(self, number: int, plan: confine.Plan) -> None:
        begun = birth.begin(plan, self._become)
        self._expected[begun.report_fd] = _Expected(number, begun, plan.place)
        self._poll.register(begun.report_fd, select.POLLIN)

    def _deliver(self, report_fd: int) -> None:
        """A child is born, or it failed."""
        expected = self._expected.pop(report_fd)
        self._poll.unregister(report_fd)
        try:
            pid = birth.adopt(expected.birth)
        except SandboxUnavailable as refusal:
            self._places.give_back(expected.place)
            self._refuse(expected.number, refusal)
            return
        self._announce(_Forked(expected.number, pid, expected.place))
        birth.open_gate(expected.birth)

    def _plan(self, slot: int, fds: Sequence[int], place: Place) -> confine.Plan:
        data_fd, stdout_fd, stderr_fd, stack_fd, calls_fd = fds
        return confine.Plan(
            queue=self._orders["queue"],
            slot=slot,
            limits=self._limits,
            nice=self._orders["nice"],
            working_directory=place.workplace.path
            if place.workplace
            else self._orders["working_directory"],
            wall=self._prepared.wall,
            zygote_pid=os.getpid(),
            code=UserCode(**self._orders["code"]),
            has_hidden=self._orders["has_hidden"],
            shared_fds=self._prepared.shared_fds,
            data_fd=data_fd,
            stdout_fd=stdout_fd,
            stderr_fd=stderr_fd,
            stack_fd=stack_fd,
            calls_fd=calls_fd,
            place=place,
        )

    def _bury(self, pidfd: int) -> None:
        """Reap a dead child and its tree, then report it."""
        forked = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        self._places.kill(forked.place)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(forked.pid, signal.SIGKILL)
        _, status, usage = os.wait4(forked.pid, 0)
        os.close(pidfd)
        swept = self._sweep()
        self._say(
            {
                "is": "reaped",
                "number": forked.number,
                "status": status,
                "cpu_ms": (usage.ru_utime + usage.ru_stime) * 1000,
                "swept": swept,
                "was_out_of_memory": self._places.was_out_of_memory(forked.place),
            }
        )
        self._places.give_back(forked.place)

    def _sweep(self) -> int:
        """End what a dead child left; a pid namespace has ended with its first process."""
        if self._prepared.wall.level in STRICT:
            return 0
        return tree.sweep_strangers({one.pid for one in self._children.values()})

    def _stop(self) -> None:
        for pidfd in self._children:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        for pidfd in list(self._children):
            self._bury(pidfd)
        for expected in self._expected.values():
            birth.abort(expected.birth)
        tree.sweep_strangers(set())
        self._places.close(_LAST_REMOVAL_S)

    def _say(self, message: dict[str, Any], fds: tuple[int, ...] | list[int] = ()) -> None:
        """Report; a supervisor that is gone does not hear it, and the next read ends the loop."""
        with suppress(OSError):
            control.send(self._channel, message, fds)


if __name__ == "__main__":
    sys.exit(main(socket.socket(fileno=int(sys.argv[1]))))
