"""Which room may know which: the package's import rules, read from its syntax trees."""

from __future__ import annotations

import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.support.imports import Import, closure, imports_of, sources

ROOMS = ("runtime", "sandbox", "supervisor")
ENTRY_POINTS = ("__main__", "cli", "demo")
"""What joins everything from outside; the console script is named in pyproject.toml."""

CHILD_SIDE = ["toril.sandbox.zygote", "toril.sandbox.child"]
CHILD_SIDE_LIBRARIES = {"setproctitle"}
HEAVY_FOR_A_CHILD = {"asyncio", "multiprocessing", "concurrent.futures", "http", "email"}
"""Standard library modules that would cost every fork memory or start threads."""


@cache
def _ours() -> dict[str, list[Import]]:
    """Module → the modules of ours that it imports anywhere, typing blocks included."""
    return {
        name: [one for one in imports_of(name, path) if one.module.split(".")[0] == "toril"]
        for name, path in sources().items()
    }


def _room(module: str) -> str:
    """The room of a module; `entry` for entry points, `hallway` for what both sides need."""
    part = module.split(".")[1] if "." in module else ""
    if part in ENTRY_POINTS:
        return "entry"
    return part if part in ROOMS else "hallway"


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("runtime", {"sandbox", "supervisor", "entry"}),
        ("sandbox", {"runtime", "supervisor", "entry"}),
        ("hallway", {"runtime", "sandbox", "supervisor", "entry"}),
    ],
)
def test_room_does_not_know(room: str, forbidden: set[str]):
    """Only the supervisor knows runtime and sandbox; only entry points know the supervisor."""
    crossings = [
        f"{name} imports {one.module}"
        for name, imports in _ours().items()
        if _room(name) == room and name != "toril"
        for one in imports
        if _room(one.module) in forbidden
    ]

    assert crossings == []


def test_public_names_are_loaded_lazily():
    """`toril/__init__` names its modules for readers and tools only, under TYPE_CHECKING."""
    assert [one.module for one in _ours()["toril"] if not one.typing_only] == []


def test_there_are_no_import_circles():
    graph = {
        name: {one.module for one in imports if one.at_start and not one.typing_only} - {name}
        for name, imports in _ours().items()
    }

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_child_side_loads_only_the_standard_library_and_its_own_room():
    assert set(CHILD_SIDE) <= sources().keys()

    loaded = closure(CHILD_SIDE)

    libraries = {name.split(".")[0] for name in loaded} - {"toril"} - sys.stdlib_module_names
    assert libraries <= CHILD_SIDE_LIBRARIES
    assert {name for name in loaded if _room(name) in {"runtime", "supervisor"}} == set()
    assert loaded & HEAVY_FOR_A_CHILD == set()
