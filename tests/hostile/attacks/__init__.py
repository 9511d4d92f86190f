"""Hostile processors by what they attack; `processors` has them all, those of others too.

An attack gets the targets of `tests/hostile/arena.py` as its data and returns what each of its
steps met: `{step: name of the errno, or "done"}`. What has no answer to give ends in another way.
"""

from __future__ import annotations

from importlib import import_module

from tests.hostile.attacks.steps import ATTACKS
from tests.process.processors import hostile

_MODULES = ("processes", "kernel", "files", "network", "hoarding", "wire", "inside", "selves")

for _name in _MODULES:
    import_module(f"{__name__}.{_name}")


def echo(job):
    """What every case is followed by."""
    return job.data


def hold(job):
    """The neighbour: runs until its question is answered, then says the answer."""
    return job.children_values()


processors = {**hostile.processors, **ATTACKS, "echo": echo, "hold": hold}
