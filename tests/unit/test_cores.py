"""Cores that a process may use: affinity, and every quota above it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from toril.supervisor import cores

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """One with sixteen cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)))


def made(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


V2 = {"proc/self/cgroup": "0::/a.slice/b.service"}
V1 = {"proc/self/cgroup": "5:memory:/x\n1:cpu,cpuacct:/docker/1\n0::/"}


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, 16),
        (V2, 16),
        (V2 | {"sys/fs/cgroup/a.slice/b.service/cpu.max": "max 100000"}, 16),
        (V2 | {"sys/fs/cgroup/a.slice/b.service/cpu.max": "400000 100000"}, 4),
        (V2 | {"sys/fs/cgroup/a.slice/b.service/cpu.max": "50000 100000"}, 1),
        (V2 | {"sys/fs/cgroup/a.slice/b.service/cpu.max": "350000 100000"}, 3),
        (
            V2
            | {
                "sys/fs/cgroup/a.slice/cpu.max": "200000 100000",
                "sys/fs/cgroup/a.slice/b.service/cpu.max": "800000 100000",
            },
            2,
        ),
        (V2 | {"sys/fs/cgroup/cpu.max": "300000 100000"}, 3),
        (V2 | {"sys/fs/cgroup/cpu.max": "nonsense"}, 16),
        (V2 | {"sys/fs/cgroup/cpu.max": "100000 0"}, 16),
        (V2 | {"sys/fs/cgroup/cpu.max": "99900000 100000"}, 16),
        (
            V1
            | {
                "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us": "250000",
                "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000",
            },
            2,
        ),
        (
            V1
            | {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "500000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            5,
        ),
        (
            V1
            | {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            16,
        ),
    ],
)
def test_least_of_affinity_and_quotas_counts(tmp_path, files, found):
    assert cores.usable(made(tmp_path, files)) == found


def test_affinity_may_be_the_least(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3})
    files = V2 | {"sys/fs/cgroup/cpu.max": "400000 100000"}
    assert cores.usable(made(tmp_path, files)) == 1
