"""The limits of one child as a value, and the part of them that the child's own kernel side keeps.

Sizes are bytes, times are seconds. Wall time, result and output sizes are kept by the supervisor's
side; what stands here as rlimits is applied by the child to itself, before any code of a job runs.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass

from toril.errors import InvalidOption

_MIB = 1024 * 1024

MAX_OPEN_FILES = 256
"""RLIMIT_NOFILE of a child; chosen: far above what libraries hold, far below the supervisor's."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one child may use.

    The defaults are chosen so that ordinary work does not meet them and a runaway does.

    Attributes:
        timeout_s: hard wall time of one attempt.
        memory_bytes: private memory on top of what was inherited from the zygote; beyond it
            allocations fail (`MemoryError`). None: not limited.
        result_bytes: JSON text of one result.
        output_bytes: log lines, stdout and stderr of one attempt together; what is over is
            dropped and counted.
        max_jobs: attempts after which a child is replaced. None: never.
        grace_s: time between asking a processor to stop and killing its child.
    """

    timeout_s: float = 300.0
    memory_bytes: int | None = 512 * _MIB
    result_bytes: int = _MIB
    output_bytes: int = _MIB
    max_jobs: int | None = 500
    grace_s: float = 2.0

    def __post_init__(self) -> None:
        for name in ("timeout_s", "result_bytes", "output_bytes", "memory_bytes", "max_jobs"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InvalidOption(f"{name} is {value!r}; expected more than 0")
        if self.grace_s < 0:
            raise InvalidOption(f"grace_s is {self.grace_s!r}; expected 0 or more")


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
        resource.RLIMIT_NOFILE: MAX_OPEN_FILES,
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
