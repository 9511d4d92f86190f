"""The wall of one zygote's children: what can be prepared once, so that a fork stays cheap.

`build` runs in the zygote, after the preload and before the first fork. Each mechanism is prepared
by a function of its own module and kept here as a value; the step of `confine.STEPS` that bears its
name applies it in the child, where nothing is decided any more. A further mechanism adds a field
here, a line in `build` and a step there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from toril.sandbox.allow import Allow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toril.sandbox.levels import Level


@dataclass(frozen=True, slots=True)
class Wants:
    """What is asked of a wall, as the supervisor says it.

    Attributes:
        level: how strong it has to be.
        allow: what is let through.
        waive: mechanisms whose absence the operator has accepted in writing.
        processor: `"module:attribute"`, whose source has to be readable.
        python_path: the import path.
        work_root: directory that holds the work directories of the zygote's children; empty at
            `process`.
    """

    level: Level
    allow: Allow = field(default_factory=Allow)
    waive: frozenset[str] = frozenset()
    processor: str = ""
    python_path: Sequence[str] = ()
    work_root: str = ""


@dataclass(frozen=True, slots=True)
class Wall:
    """What was prepared.

    Attributes:
        level: which steps a child takes.
        allow: what is let through, for the words of a refusal.
    """

    level: Level
    allow: Allow


def build(wants: Wants) -> Wall:
    """Prepare everything that children share.

    Raises:
        SandboxUnavailable: this host cannot do what the level needs; it names what, and the remedy.
    """
    return Wall(wants.level, wants.allow)
