"""Process trees: who adopts orphans, and the sweep that ends what a dead child left behind.

A sweep reaps by pid only, never `waitpid(-1)`: the process may have children of its own.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from toril.sandbox import proc

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

_SWEEP_S = 2.0
"""Longest sweep, seconds; chosen: a fork bomb may outrun it, its rest falls to the next sweep."""


def become_supervisor() -> None:
    """Adopt what a dead zygote leaves, and close this process to other processes of its user."""
    proc.adopt_orphans()
    proc.set_dumpable(dumpable=False)


def sweep_strangers(keep: AbstractSet[int]) -> int:
    """Kill and reap every child of this process that is not in `keep`; say how many.

    Children of a killed stranger become ours and fall in the next round. Call it where orphans
    are adopted: in a zygote after a child's death, in a supervisor after a zygote's.

    Args:
        keep: pids of children that this process started itself and still wants.
    """
    me = os.getpid()
    swept = 0
    end = time.monotonic() + _SWEEP_S
    while strangers := set(proc.child_pids(me)) - keep:
        for pid in strangers:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in strangers:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
        swept += len(strangers)
        if time.monotonic() > end:
            break
    return swept


def reap(pid: int) -> int | None:
    """The wait status of a dead child; None when it is not ours, or not dead."""
    with suppress(ChildProcessError):
        waited, status = os.waitpid(pid, os.WNOHANG)
        return status if waited else None
    return None
