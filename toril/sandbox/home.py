"""What a child and its zygote owe the supervisor: their answers, and how long those may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from toril.sandbox.handle import Child

FORK_S = 10.0
"""From the fork request to the zygote's answer; chosen: 1000 times the usual."""

READY_S = 60.0
"""From the fork to READY, the processor's import and `setup()` included; chosen: a large model is
read in less."""

REPORT_S = 5.0
"""From the pidfd to the zygote's report; chosen: longer than its longest sweep."""

HANGUP_S = 0.5
"""From a closed socket to the kill; chosen: a dying child closes it less than 1 ms before its pidfd
tells, on a loaded machine later."""


class Home(Protocol):
    """The zygote, as its children know it."""

    def forget(self, child: Child) -> None:
        """The child is buried."""

    def accuse(self, silence: str) -> None:
        """It has not answered in time what `silence` names."""
