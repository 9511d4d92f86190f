"""The limits of one child as a value, and the part of them that the child's own kernel side keeps.

Sizes are bytes, times are seconds. Wall and CPU time, result and output sizes are kept by the
supervisor's side; what stands here as rlimits is applied by the child to itself, before any code of
a job runs. (Not RLIMIT_CPU: it counts a process's whole life, and ends it without a reason.)
"""

from __future__ import annotations

import resource
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from toril.checks import refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

_MIB = 1024 * 1024

PROCESSES = 64
"""Processes and threads of one child, where something can hold it to that; chosen: what numeric
libraries start on a large machine when they are let, far below what a machine bears."""

_MIN_OPEN_FILES = 16
"""Fewest open files a child can do with; chosen: its own six, and a few for the interpreter."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one child may use.

    The defaults are chosen so that ordinary work does not meet them and a runaway does.

    Attributes:
        timeout_s: hard wall time of one attempt.
        soft_timeout_s: wall time after which `SoftTimeout` is raised in the processor, once; a
            result that it still returns counts. None: only `grace_s` before the kill.
        cpu_s: user and system time that the child's process may use in one attempt, all threads
            together, read four times a second; what it starts as processes of their own is not
            in it. None: not limited.
        memory_bytes: private memory on top of what was inherited from the zygote; beyond it
            allocations fail (`MemoryError`), and a child that grows a quarter more, by memory
            that this does not cover, is killed. None: not limited.
        max_threads: threads of a child, all that its process has, looked at as memory is; a child
            with more is killed. None: not limited.
        open_files: file descriptors of a child, its own six included.
        result_bytes: JSON text of one result.
        output_bytes: log lines, stdout and stderr of one attempt together; what is over is
            dropped and counted.
        log_lines: the same in lines.
        max_jobs: attempts after which a child is replaced. None: never.
        max_age_s: seconds since READY after which it is. None: never.
        max_rss_growth_bytes: growth of its resident size since READY, measured between jobs,
            after which it is. None: never.
        grace_s: time between asking a processor to stop and killing its child.
    """

    timeout_s: float = 300.0
    soft_timeout_s: float | None = None
    cpu_s: float | None = None
    memory_bytes: int | None = 512 * _MIB
    max_threads: int | None = 1000
    open_files: int = 256
    result_bytes: int = _MIB
    output_bytes: int = _MIB
    log_lines: int = 1000
    max_jobs: int | None = 5000
    max_age_s: float | None = None
    max_rss_growth_bytes: int | None = None
    grace_s: float = 2.0

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            InvalidSettings: a limit of nothing, too few files, a soft timeout after the hard one.
        """
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and value <= 0 and field.name != "grace_s":
                yield f"{field.name} is {value!r}; expected more than 0"
        if self.grace_s < 0:
            yield f"grace_s is {self.grace_s!r}; expected 0 or more"
        if 0 < self.open_files < _MIN_OPEN_FILES:
            yield f"open_files is {self.open_files!r}; expected at least {_MIN_OPEN_FILES}"
        if self.soft_timeout_s is not None and self.soft_timeout_s >= self.timeout_s:
            yield (
                f"soft_timeout_s is {self.soft_timeout_s!r}; expected less than timeout_s, "
                f"which is {self.timeout_s!r}"
            )


def rlimits(limits: Limits, inherited_data_bytes: int) -> dict[int, int]:
    """Which resource limits a child sets on itself, soft and hard alike.

    Args:
        limits: the child's limits.
        inherited_data_bytes: VmData at the fork. The kernel counts it against RLIMIT_DATA, so an
            absolute limit below it would make every allocation fail.

    Source: setrlimit(2).
    """
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_NOFILE: limits.open_files,
    }
    if limits.memory_bytes is not None:
        wanted[resource.RLIMIT_DATA] = inherited_data_bytes + limits.memory_bytes
    return wanted


def apply_rlimits(limits: Limits, inherited_data_bytes: int) -> None:
    """Set this process's resource limits; a hard limit that is lower already stays."""
    for kind, wanted in rlimits(limits, inherited_data_bytes).items():
        _, hard = resource.getrlimit(kind)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))
