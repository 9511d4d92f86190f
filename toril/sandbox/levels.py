"""How strongly a child is isolated; a level that cannot be enforced is refused, never weakened."""

from __future__ import annotations

import enum


class Level(enum.Enum):
    """The three levels, weakest first."""

    PROCESS = "process"
    RESTRICTED = "restricted"
    STRICT = "strict"


ALL = frozenset(Level)
WALLED = frozenset({Level.RESTRICTED, Level.STRICT})
"""Levels with a wall: what the kernel holds a child to, whatever code runs in it."""

RESTRICTED = frozenset({Level.RESTRICTED})
STRICT = frozenset({Level.STRICT})
SHARED = ALL - STRICT
"""Levels whose children share the host's namespaces."""

MECHANISMS = {
    "landlock": WALLED,
    "seccomp": WALLED,
    "uid": WALLED,
    "namespaces": STRICT,
    "cgroup": STRICT,
}
"""What the kernel has to offer for a level; a waiver names one of them. How each is looked for is
in `mechanisms.py`, which forks and so is not for a supervisor to import."""
