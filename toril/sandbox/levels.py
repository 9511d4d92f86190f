"""How strongly a child is isolated; a level that cannot be enforced is refused, never weakened."""

from __future__ import annotations

import enum

from toril.errors import SandboxUnavailable


class Level(enum.Enum):
    """The three levels, weakest first."""

    PROCESS = "process"
    RESTRICTED = "restricted"
    STRICT = "strict"


def require(level: Level) -> None:
    """Refuse a level that this version cannot enforce.

    Raises:
        SandboxUnavailable: it names the level and the remedy.
    """
    if level is not Level.PROCESS:
        raise SandboxUnavailable(
            f'level "{level.value}" cannot be enforced: this version of toril does not have it yet',
            'Use level = "process" (--level process), which guards against crashes, leaks and '
            "loops but not against hostile code",
        )
