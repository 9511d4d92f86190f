"""How many CPU cores this process may use: where it is scheduled, and what its cgroups let it have.

A container that may use two cores of a machine with sixty-four sees all of them; its quota is what
counts. Source: cgroup v2 `cpu.max`, v1 `cpu.cfs_quota_us`, sched_getaffinity(2), cgroups(7).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path("/")
_CONTROLLER = "cpu"


def usable(root: Path = _ROOT) -> int:
    """The least of affinity and every quota above this process; at least 1.

    A quota of one core and a half counts as one: the half would be spent waiting.

    Args:
        root: where /proc and /sys are.
    """
    quotas = [int(quota) for quota in _quotas(root)]
    return max(1, min([len(os.sched_getaffinity(0)), *quotas]))


def _quotas(root: Path) -> Iterator[float]:
    """In cores, for each group from this process' own up to the root."""
    for directory in _groups(root):
        quota = _v2(_read(directory / "cpu.max"))
        if quota is None:
            quota = _v1(
                _read(directory / "cpu.cfs_quota_us"), _read(directory / "cpu.cfs_period_us")
            )
        if quota is not None:
            yield quota


def _groups(root: Path) -> Iterator[Path]:
    """Directories of this process' groups and their parents; some may not be there.

    In a container the path may be the host's and the mount the container's own: the mount itself
    is always looked at.
    """
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and _CONTROLLER not in controllers.split(","):
            continue
        tops = [mount / controllers, mount / _CONTROLLER] if controllers else [mount]
        inner = Path(path.strip().lstrip("/"))
        for top in tops:
            yield from (top / one for one in (inner, *inner.parents))


def _v2(text: str) -> float | None:
    """`max 100000` or `150000 100000`."""
    quota, _, period = text.strip().partition(" ")
    return _share(quota, period)


def _v1(quota: str, period: str) -> float | None:
    """`-1`, or microseconds in each period."""
    return _share(quota.strip(), period.strip())


def _share(quota: str, period: str) -> float | None:
    if not (quota.isdecimal() and period.isdecimal()) or int(period) == 0:
        return None
    return int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
