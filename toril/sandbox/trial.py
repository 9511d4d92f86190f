"""The self-test: the wall is put around a throw-away process, and what it forbids is tried.

It runs in the zygote before the first child. Looking at mechanisms one by one finds what is missing
on a host; this finds whether they hold together, with what this queue is allowed.
"""

# ruff: noqa: PTH101, PTH123 - no pathlib where children are made

from __future__ import annotations

import ctypes
import os
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toril.errors import SandboxUnavailable
from toril.sandbox import birth, syscalls
from toril.sandbox.confine import RULES_FD
from toril.sandbox.levels import ALL, STRICT
from toril.sandbox.throwaway import tried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from toril.sandbox.confine import Plan, Step

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Act:
    """Something that has to fail, or has to work, behind the wall.

    Attributes:
        what: for the refusal, behind "the wall let it" or "the wall did not let it".
        do: raises OSError when it is refused.
        works: what is expected.
        counts: whether that is so for this plan.
    """

    what: str
    do: Callable[[Plan], object]
    works: bool = False
    counts: Callable[[Plan], bool] = lambda _: True


def hold(plan: Plan, steps: Iterable[Step]) -> None:
    """Try the plan's wall out.

    Args:
        plan: as for a child; its work directory is there.
        steps: the plan's steps; those that every level has are left out.

    Raises:
        SandboxUnavailable: something forbidden was possible, or something needed was not.
    """
    is_apart = plan.wall.level in STRICT
    walls = [step for step in steps if step.levels != ALL and step.name != "gate"]
    words = tried(lambda: _try_apart(plan, walls) if is_apart else _try(plan, walls))
    if words:
        raise SandboxUnavailable(
            f'level "{plan.wall.level.value}" does not hold on this host: {words}',
            'Report it with the output of `toril doctor`; level = "process" (--level process) '
            "works without these mechanisms, and guards against crashes, leaks and loops only",
            level=plan.wall.level.value,
        )


def _try_apart(plan: Plan, walls: Iterable[Step]) -> str:
    """As the first process of its own namespaces."""
    birth.part(plan)
    return tried(lambda: _try(plan, walls))


def _try(plan: Plan, walls: Iterable[Step]) -> str:
    if plan.place.rules_fd is not None:
        os.dup2(plan.place.rules_fd, RULES_FD)
    for step in walls:
        try:
            step.act(plan)
        except OSError as error:
            return f'setting up failed at step "{step.name}": {error}'
    for act in ACTS:
        if act.counts(plan) and _is_done(act, plan) != act.works:
            return f"the wall {'did not let' if act.works else 'let'} a child {act.what}"
    return ""


def _is_done(act: Act, plan: Plan) -> bool:
    try:
        act.do(plan)
    except (OSError, RuntimeError):
        return False
    return True


def _has_filter(plan: Plan) -> bool:
    return plan.wall.filter is not None


def _has_files(plan: Plan) -> bool:
    """Its own zygote's /proc is readable to nobody, unless everything was allowed."""
    files = plan.wall.files
    return files is not None and not {"/", "/proc"} & files.paths.keys()


def _read_neighbour(plan: Plan) -> None:
    open(f"/proc/{plan.zygote_pid}/stat", "rb").close()


def _write_own(plan: Plan) -> None:
    with open(f"{plan.working_directory}/trial", "wb") as file:
        file.write(b"written")


def _call(name: str, *arguments: int) -> None:
    number = syscalls.ARCHITECTURES[os.uname().machine].numbers[name]
    if _libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def _fork(_: Plan) -> None:
    if os.fork() == 0:
        os._exit(0)


def _start_thread(_: Plan) -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()


ACTS = (
    Act("read about its zygote", _read_neighbour, counts=_has_files),
    Act("signal its zygote", lambda plan: os.kill(plan.zygote_pid, 0), counts=_has_filter),
    Act("be traced", lambda _: _call("ptrace", 0, 0, 0, 0), counts=_has_filter),
    Act("make a local socket", lambda _: socket.socket(socket.AF_UNIX).close(), counts=_has_filter),
    Act(
        "make an internet socket",
        lambda _: socket.socket(socket.AF_INET).close(),
        counts=lambda plan: _has_filter(plan) and not plan.wall.allow.network,
    ),
    Act(
        "start a process",
        _fork,
        counts=lambda plan: _has_filter(plan) and not plan.wall.allow.exec,
    ),
    Act("make a file without a name", lambda _: os.memfd_create("t"), counts=_has_filter),
    Act("change a mode", lambda plan: os.chmod(plan.working_directory, 0o700), counts=_has_filter),
    Act("signal itself", lambda _: os.kill(os.getpid(), 0), works=True),
    Act("start a thread", _start_thread, works=True),
    Act("write into its own directory", _write_own, works=True),
    Act("read the standard library", lambda _: open(os.__file__, "rb").close(), works=True),
)
"""In this order; the first that goes otherwise is told."""
