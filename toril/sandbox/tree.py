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

_PAUSE_S = 0.001
"""Between two looks at what was killed; chosen: most processes end within it."""


def become_supervisor() -> None:
    """Adopt what a dead zygote leaves, and close this process to other processes of its user."""
    proc.adopt_orphans()
    proc.set_dumpable(dumpable=False)


def sweep_strangers(keep: AbstractSet[int], bound_s: float = _SWEEP_S) -> int:
    """Kill and reap every child of this process that is not in `keep`; say how many are gone.

    Children of a killed stranger become ours and fall in the next round. Call it where orphans
    are adopted: in a zygote after a child's death, in a supervisor after a zygote's. It never
    waits for a process that may not be killed (a setuid program) or does not end (it sleeps in the
    kernel): a later sweep reaps it.

    Args:
        keep: pids of children that this process started itself and still wants.
        bound_s: longest time it may take.
    """
    me, end = os.getpid(), time.monotonic() + bound_s
    swept, spared = 0, set(keep)
    while strangers := set(proc.child_pids(me)) - spared:
        beyond = {pid for pid in strangers if not _may_kill(pid)}
        left = _reap_until(strangers, beyond, end)
        swept += len(strangers - left)
        spared |= beyond
        if time.monotonic() > end:
            break
    return swept


def _may_kill(pid: int) -> bool:
    """Kill it; False when the kernel does not let us."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True


def _reap_until(pids: AbstractSet[int], beyond: AbstractSet[int], end: float) -> set[int]:
    """Reap what has ended, waiting for all but `beyond`; those that are left at `end`."""
    left = set(pids)
    while True:
        left = {pid for pid in left if not _is_reaped(pid)}
        if left <= beyond or time.monotonic() > end:
            return left
        time.sleep(_PAUSE_S)


def _is_reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def reap(pid: int) -> int | None:
    """The wait status of a dead child; None when it is not ours, or not dead."""
    with suppress(ChildProcessError):
        waited, status = os.waitpid(pid, os.WNOHANG)
        return status if waited else None
    return None
