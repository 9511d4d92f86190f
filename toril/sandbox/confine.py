"""How a fresh fork becomes a child: the steps in their load-bearing order, before READY.

Any exception here means that the child was not set up as promised; it then never runs a job.
"""

from __future__ import annotations

import faulthandler
import fcntl
import gc
import io
import os
import resource
import signal
import sys
import termios
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import setproctitle

from toril.sandbox import (
    capabilities,
    cgroup,
    landlock,
    levels,
    namespaces,
    private_root,
    proc,
    seccomp,
    users,
)
from toril.sandbox.levels import RESTRICTED, SHARED, STRICT, Level
from toril.sandbox.limits import PROCESSES, Limits, apply_rlimits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from toril.sandbox.named import UserCode
    from toril.sandbox.places import Place
    from toril.sandbox.wall import Wall

DATA_FD = 3
"""Where every child has its data socket."""

STACK_FD = 4
"""Where every child writes its Python stack when it is asked for it."""

PEAK_FD = 5
"""Where every child resets its peak of memory, an opened file: behind a wall it could not be
opened any more. As long as it is open the kernel keeps /proc/PID in memory, and the rule for it."""

CALLS_FD = 6
"""Where every child finds calls that lie ready for it."""

RULES_FD = 7
"""Where a walled child has its Landlock rule set until it enters it."""

LAST_FD = RULES_FD

STACK_SIGNAL = signal.SIGRTMAX - 1
"""Asks a child for its Python stack; chosen: nothing known uses it, SIGUSR1 and 2 are the job's."""

ORPHANED_SIGNAL = signal.SIGUSR1
"""Tells a zygote of the supervisor's death. Not SIGKILL: what children leave is swept first."""

_LEFT_TO_SUPERVISOR = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

LOST_SOCKET = 113
"""Exit code of a child that could not speak to the supervisor any more; chosen: rarely used by
others, and the number of EHOSTUNREACH."""

_OOM_SCORE = b"500"
"""Added to a child's out-of-memory score; chosen: the kernel takes a child before anything of ours,
and still compares children by size."""

_NONE_UNREAD = bytes(4)
_KEEP_IGNORED = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
_UNCHANGEABLE = frozenset({signal.SIGKILL, signal.SIGSTOP})


@dataclass(frozen=True, slots=True)
class Plan:
    """What a child has to become.

    Attributes:
        queue: the queue's name, for the process title.
        slot: the child's place in its pool, for the process title.
        limits: what it may use.
        nice: how far it steps back behind the supervisor.
        working_directory: where processors run: from `restricted` up the child's own, empty.
        wall: what the zygote prepared for this level.
        zygote_pid: its parent; it dies with it.
        code: what its calls are given to.
        has_hidden: variables of the supervisor's environment were kept from it.
        shared_fds: read-only files that preloaded modules hold open.
        data_fd, stdout_fd, stderr_fd, stack_fd, calls_fd: its ends of sockets and pipes.
        place: where it lives, with its Landlock rule set if there is one.
        gate_fd: where a `strict` child waits until it is adopted.
    """

    queue: str
    slot: int
    limits: Limits
    nice: int
    working_directory: str
    wall: Wall
    zygote_pid: int
    code: UserCode
    has_hidden: bool
    shared_fds: Sequence[int]
    data_fd: int
    stdout_fd: int
    stderr_fd: int
    stack_fd: int
    calls_fd: int
    place: Place
    gate_fd: int = -1

    @property
    def title(self) -> str:
        """The process title of an idle child."""
        return f"toril: {self.queue} child {self.slot}"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done to a fresh fork.

    Attributes:
        name: what a fault report says.
        act: does it; any exception ends the child.
        levels: where it is taken.
    """

    name: str
    act: Callable[[Plan], object]
    levels: frozenset[Level] = levels.ALL


def steps(level: Level) -> list[Step]:
    """The steps of a level, in the order in which they have to be taken."""
    return [step for step in STEPS if level in step.levels]


def settle_in(plan: Plan) -> None:
    """Where and how a processor begins: its directory, its mask for new files."""
    os.umask(0o077)
    os.chdir(plan.working_directory)


def reset_signals() -> None:
    """Every signal as a Python program starts with it, none blocked, no wakeup fd.

    A crash signal prints the Python stack to fd 2 before it ends the process.
    """
    signal.set_wakeup_fd(-1)
    faulthandler.disable()
    for number in signal.valid_signals() - _UNCHANGEABLE - _KEEP_IGNORED:
        if signal.getsignal(number) is not signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
    for number in _KEEP_IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.enable(file=2)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def leave_to_supervisor() -> None:
    """In the zygote, after its signals were reset: the supervisor alone decides who stops.

    A service manager may signal the whole group. `_take_signals` is its counterpart.
    """
    for number in _LEFT_TO_SUPERVISOR:
        signal.signal(number, signal.SIG_IGN)


def _take_signals(_: Plan) -> None:
    """Undo what the zygote needs for itself; all else it has reset after the preload, for all."""
    for number in (*_LEFT_TO_SUPERVISOR, ORPHANED_SIGNAL):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What a preloaded library does at a fork may have blocked some.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def answer_stack_asks() -> None:
    """(Re)install the handler that writes the Python stack; it runs while C code holds the GIL.

    Of one thread only, which is the main one unless it blocks the signal: the others run on while
    the handler reads, and a frame that one of them frees meanwhile would crash the job.
    """
    faulthandler.unregister(STACK_SIGNAL)
    faulthandler.register(STACK_SIGNAL, file=STACK_FD, all_threads=False)


def open_streams() -> None:
    """Fresh text streams over fds 0 to 2: whole lines leave at once and are not lost in a crash."""
    sys.stdin = io.TextIOWrapper(io.FileIO(0, "r", closefd=False), encoding="utf-8")
    sys.stdout = _writer(1)
    sys.stderr = _writer(2)


def flush_streams() -> None:
    """Hand on what was printed; the streams may be anything a module has put in their place."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:  # noqa: BLE001, S112 - a wall: user code may be behind it
            continue


def has_unread_output() -> bool:
    """Whether something that was printed still lies in a pipe."""
    return any(map(_has_unread, (1, 2)))


def _has_unread(fd: int) -> bool:
    try:
        return fcntl.ioctl(fd, termios.FIONREAD, _NONE_UNREAD) != _NONE_UNREAD
    except OSError:  # The job has put something else in its place.
        return False


def _writer(fd: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(fd, "w", closefd=False)),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )


def _take_fds(plan: Plan) -> None:
    """Put everything in its place and close all else; files of preloaded modules are reopened.

    A fork shares their position in the file with every other child, a reopened file does not.
    """
    null = os.open(os.devnull, os.O_RDONLY)
    for fd, target in ((null, 0), (plan.stdout_fd, 1), (plan.stderr_fd, 2)):
        os.dup2(fd, target)
    keep = sorted(fd for fd in plan.shared_fds if fd > LAST_FD)
    # Neither end is at or below the last: the zygote keeps those numbers taken.
    os.dup2(plan.data_fd, DATA_FD, inheritable=False)
    os.dup2(plan.stack_fd, STACK_FD, inheritable=False)
    os.dup2(plan.calls_fd, CALLS_FD, inheritable=False)
    os.close(PEAK_FD)
    if plan.place.rules_fd is None:
        os.close(RULES_FD)
    else:
        os.dup2(plan.place.rules_fd, RULES_FD, inheritable=False)
    low = LAST_FD + 1
    for fd in keep:
        os.closerange(low, fd)
        _reopen(fd)
        low = fd + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))


def _reopen(fd: int) -> None:
    position = os.lseek(fd, 0, os.SEEK_CUR)
    own = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    os.dup2(own, fd, inheritable=False)
    os.close(own)
    os.lseek(fd, position, os.SEEK_SET)


def _own_workplace(plan: Plan) -> None:
    """Temporary files go where they may be written; a cached answer is the zygote's."""
    os.environ["TMPDIR"] = plan.working_directory
    if (tempfile := sys.modules.get("tempfile")) is not None:
        tempfile.__dict__["tempdir"] = None


def _add_own_rule(plan: Plan) -> None:
    """What can be said of a process only when it is there."""
    if plan.wall.files is not None:
        own = landlock.grant("/proc/self", landlock.READ)
        landlock.add_rule(RULES_FD, plan.wall.files.rights, own)
        os.close(own.fd)


def _move_in(plan: Plan) -> None:
    """Into a root of its own, with its work directory; the host's tree is out of reach then."""
    wall, place = plan.wall, plan.working_directory
    os.umask(0o077)
    private_root.enter(wall.root, place, wall.allow.tmp_size_bytes)
    if wall.files is not None:
        # The root's own directories are not the host's, for which there are rules already.
        for path, rights in {"/": landlock.READ_DIR, place: landlock.WRITE}.items():
            own = landlock.grant(path, rights)
            landlock.add_rule(RULES_FD, wall.files.rights, own)
            os.close(own.fd)


def _bound_processes(plan: Plan) -> None:
    """The kernel counts by user, or since 5.14 by user and namespace: here by child, either way."""
    if plan.place.uid is not None or plan.wall.level in STRICT:
        resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))


def _die_with_zygote(plan: Plan) -> None:
    """In a pid namespace of its own a child sees no parent; its gate has told it of the zygote."""
    parent = 0 if plan.wall.level in STRICT else plan.zygote_pid
    proc.die_with_parent(parent, signal.SIGKILL)


def _enter_domain(plan: Plan) -> None:
    if plan.wall.files is not None:
        landlock.restrict(RULES_FD)
        os.close(RULES_FD)


def _filter_calls(plan: Plan) -> None:
    if plan.wall.filter is not None:
        seccomp.install(plan.wall.filter)


def _volunteer_for_oom() -> None:
    """Raise the score; /proc/self belongs to root as long as the process is not dumpable."""
    proc.set_dumpable(dumpable=True)
    score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(score, _OOM_SCORE)
    os.close(score)


def _open_peak() -> None:
    """Its number is the lowest free one, unless the child was not left one below it."""
    fd = proc.open_peak()
    if fd != PEAK_FD:
        os.dup2(fd, PEAK_FD, inheritable=False)
        os.close(fd)


def _step_back(nice: int) -> None:
    """A child that wakes up must not take the CPU from the supervisor that has woken it.

    SCHED_BATCH promises just that: without it the supervisor was interrupted once for every job. A
    policy that somebody has chosen for the service stays.
    """
    os.nice(nice)
    if os.sched_getscheduler(0) == os.SCHED_OTHER:
        with suppress(OSError):  # Some container's filter may refuse it; nothing depends on it.
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _reseed() -> None:
    """Give numpy's global generator numbers of its own; `random` reseeds itself after a fork."""
    module = sys.modules.get("numpy.random")
    if module is not None:
        module.seed()


STEPS = (
    Step("gate", lambda plan: namespaces.wait_at_gate(plan.gate_fd), STRICT),
    Step("file descriptors", _take_fds),
    Step("session", lambda _: os.setsid()),
    # A strict child is born in its group, and as its user.
    Step("control group", lambda plan: cgroup.join(plan.place.entrance), SHARED),
    Step("user", lambda plan: users.become(plan.place.uid), SHARED),
    Step("processes", _bound_processes, levels.WALLED),
    # A change of user clears the signal.
    Step("death signal", _die_with_zygote),
    Step("orphans", lambda _: proc.adopt_orphans()),
    Step("signals", _take_signals),
    Step("stack", lambda _: answer_stack_asks()),
    Step("working directory", settle_in, SHARED),
    Step("temporary files", _own_workplace, levels.WALLED),
    Step("out-of-memory score", lambda _: _volunteer_for_oom()),
    Step("peak of memory", lambda _: _open_peak()),
    Step("limits", lambda plan: apply_rlimits(plan.limits, proc.data_bytes())),
    Step("priority", lambda plan: _step_back(plan.nice)),
    Step("garbage collector", lambda _: gc.enable()),
    Step("random numbers", lambda _: _reseed()),
    Step("title", lambda plan: setproctitle.setproctitle(plan.title)),
    # Nothing before it can do without /proc, nothing after it has it.
    Step("private root", _move_in, STRICT),
    Step("capabilities", lambda _: capabilities.keep_file_access(), RESTRICTED),
    Step("all capabilities", lambda _: capabilities.drop_all(), STRICT),
    Step("no new privileges", lambda _: landlock.forgo_privileges(), levels.WALLED),
    Step("rules for files", _add_own_rule, RESTRICTED),
    Step("landlock", _enter_domain, levels.WALLED),
    Step("seccomp", _filter_calls, levels.WALLED),
)
"""Every step there is, in order. What needs a privilege comes before what gives it up, and what
filters system calls comes last, because each step before it needs some."""
