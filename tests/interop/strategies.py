"""Back-off strategies for toril's children; the Node workers of the tests have them by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toril import SandboxedJob


def linear(attempts_made: int, _error: BaseException, _job: SandboxedJob) -> str:
    return f"{100 * attempts_made}ms"


def never(_attempts_made: int, _error: BaseException, _job: SandboxedJob) -> int:
    return -1


def at_once(_attempts_made: int, _error: BaseException, _job: SandboxedJob) -> None:
    """Say nothing, which is no wait in both."""


strategies = {"linear": linear, "never": never, "at-once": at_once}
NODE = {"linear": 100, "never": -1, "at-once": 0}
"""The same for Node: ms for every attempt made."""
