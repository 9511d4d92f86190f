"""How strongly a child is isolated; a level that cannot be enforced is refused, never weakened."""

from __future__ import annotations

import enum

from toril.errors import SandboxUnavailable


class Level(enum.Enum):
    """The three levels, weakest first."""

    PROCESS = "process"
    RESTRICTED = "restricted"
    STRICT = "strict"


ALL = frozenset(Level)
WALLED = frozenset({Level.RESTRICTED, Level.STRICT})
"""Levels with a wall: what the kernel holds a child to, whatever code runs in it."""

MECHANISMS = {"landlock": WALLED, "seccomp": WALLED}
"""What the kernel has to offer for a level; a waiver names one of them. How each is looked for is
in `mechanisms.py`, which forks and so is not for a supervisor to import."""

BUILT = frozenset({Level.PROCESS, Level.RESTRICTED})


def require(level: Level) -> None:
    """Refuse a level that this version cannot enforce.

    Raises:
        SandboxUnavailable: it names the level and the remedy.
    """
    if level not in BUILT:
        raise SandboxUnavailable(
            f'level "{level.value}" cannot be enforced: this version of toril does not have it yet',
            'Use level = "process" (--level process), which guards against crashes, leaks and '
            "loops but not against hostile code",
        )
