"""Real libraries behind the wall: they work, or the refusal says what was refused."""

from __future__ import annotations

import importlib.util
import json

import pytest

from tests.process.harness import pen
from toril.call import Verdict
from toril.sandbox.levels import Level

pytest.importorskip("numpy")
pytest.importorskip("PIL")

LIBRARIES = "tests.hostile.libraries:processors"
WALLS = [Level.RESTRICTED, Level.STRICT]
WAIVED = ("cgroup",)
"""What a host without a delegated cgroup lacks; the rest of `strict` has to be there."""

WORKS = {
    "matrices": True,
    "images": [[60, 40]] * 4,
    "database": 500,
    "archives": True,
    "threads": 328350,
    "certificates": True,
    "memory_only": True,
}
REFUSED = ["start_a_program", "start_a_pool", "start_a_process", "spawn_a_process"]


@pytest.mark.parametrize(("threads", "import_in"), [(1, "zygote"), (2, "child")])
@pytest.mark.parametrize("level", WALLS)
async def test_libraries_work(level, threads, import_in):
    found = {}
    async with pen(LIBRARIES, level=level, waive=WAIVED, threads=threads, import_in=import_in) as p:
        for name in WORKS:
            outcome = await p.run(name)
            found[name] = json.loads(outcome.value)
            assert outcome.verdict is Verdict.RETURNED, outcome.message

    assert found == WORKS


@pytest.mark.parametrize("level", WALLS)
async def test_other_processes_are_refused_clearly(level):
    async with pen(LIBRARIES, level=level, waive=WAIVED) as p:
        outcomes = {name: await p.run(name) for name in REFUSED}

    for name, outcome in outcomes.items():
        assert outcome.verdict is Verdict.RAISED, name
        assert outcome.error_name in {"PermissionError", "FileNotFoundError"}, name
        assert f'Level "{level.value}"' in outcome.message, (name, outcome.message)
        assert "processes" in outcome.message or "multiprocessing" in outcome.message, name


@pytest.mark.parametrize("level", WALLS)
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
async def test_torch_works_on_the_cpu(level):
    async with pen(LIBRARIES, level=level, waive=WAIVED, memory_bytes=None) as p:
        outcome = await p.run("tensors")

    assert (outcome.verdict, outcome.value) == (Verdict.RETURNED, b"128.0"), outcome.message
