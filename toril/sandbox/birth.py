"""How a `strict` child comes into the world: by way of a process that makes its namespaces.

A process cannot enter a pid namespace, only its next child is born in it. So the zygote forks an
intermediate, which unshares everything and forks the child; it reports the child's pid and ends,
and the child is the zygote's by adoption. A change must keep: the child waits at its gate until it
is adopted (an earlier death signal would fire at the intermediate's end) and until the supervisor
was told of it, so that there is no moment in which nobody would end it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

from toril.errors import SandboxUnavailable
from toril.sandbox import cgroup, namespaces, users

if TYPE_CHECKING:
    from collections.abc import Callable

    from toril.sandbox.confine import Plan

_MAX_REPORT_BYTES = 4096

NAMESPACES_REMEDY = (
    "Level strict needs user namespaces that may mount: look at the seccomp profile of the "
    "container, at kernel.apparmor_restrict_unprivileged_userns and at user.max_user_namespaces; "
    'or use level = "restricted" (--level restricted)'
)


@dataclass(frozen=True, slots=True)
class Birth:
    """One on its way.

    Attributes:
        intermediate: pid of the process between zygote and child.
        report_fd: becomes readable when the child is there, or will not be.
        gate_fd: where the child waits.
    """

    intermediate: int
    report_fd: int
    gate_fd: int


def begin(plan: Plan, become: Callable[[Plan], NoReturn]) -> Birth:
    """Fork the intermediate.

    Args:
        plan: what the child has to become.
        become: is called in the child with the plan.

    Raises:
        OSError: no processes or fds are left.
    """
    report_read, report_write = os.pipe()
    gate_read, gate_write = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        for fd in (report_read, gate_write):
            os.close(fd)
        raise
    else:
        if pid == 0:
            os.close(report_read)
            os.close(gate_write)
            _make(replace(plan, gate_fd=gate_read), become, report_write)
    finally:
        os.close(report_write)
        os.close(gate_read)
    return Birth(pid, report_read, gate_write)


def adopt(birth: Birth) -> int:
    """The child's pid, once it is this process's own; it still waits at its gate.

    Raises:
        SandboxUnavailable: there is no child.
    """
    report = os.read(birth.report_fd, _MAX_REPORT_BYTES)
    os.close(birth.report_fd)
    os.waitpid(birth.intermediate, 0)
    said = json.loads(report) if report else {"error": "the process in between ended"}
    if "pid" in said:
        return int(said["pid"])
    os.close(birth.gate_fd)
    raise SandboxUnavailable(f"no namespaces for a child: {said['error']}", NAMESPACES_REMEDY)


def open_gate(birth: Birth) -> None:
    """Let the child go on."""
    try:
        os.write(birth.gate_fd, namespaces.GATE_OPEN)
    except BrokenPipeError:
        pass  # It is dead already: its pidfd says so.
    finally:
        os.close(birth.gate_fd)


def abort(birth: Birth) -> None:
    """It is not wanted any more: a child that waits at a closed gate ends."""
    os.close(birth.gate_fd)
    os.close(birth.report_fd)
    os.waitpid(birth.intermediate, 0)


def part(plan: Plan) -> None:
    """Into a group, to another user, and into namespaces: the next fork is what `plan` is about."""
    cgroup.join(plan.place.entrance)
    users.become(plan.place.uid)
    namespaces.unshare_all()


def _make(plan: Plan, become: Callable[[Plan], NoReturn], report_fd: int) -> NoReturn:
    """In the intermediate: part from the host, and fork once more."""
    try:
        part(plan)
        pid = os.fork()
    except BaseException as error:  # noqa: BLE001 - a wall: nothing may run on as a zygote
        words = {"error": f"{type(error).__name__}: {error}"}
        os.write(report_fd, json.dumps(words).encode()[:_MAX_REPORT_BYTES])
        os._exit(os.EX_OSERR)
    if pid == 0:
        os.close(report_fd)
        become(plan)
    os.write(report_fd, json.dumps({"pid": pid}).encode())
    os._exit(os.EX_OK)
