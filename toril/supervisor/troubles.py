"""What goes wrong again and again, told now and then only; what goes wrong otherwise, at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from toril.events import RedisFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from toril.errors import TorilError
    from toril.events import Emit

TELL_AGAIN_S = 60.0
"""How often one and the same trouble is told; chosen: an operator's log stays readable."""


class Troubles:
    """Kinds of trouble of one queue, each with the time when it was last told."""

    def __init__(self, queue: str, emit: Emit) -> None:
        self._queue = queue
        self._emit = emit
        self._told: dict[str, tuple[str, float]] = {}

    def tell(self, what: str, error: TorilError) -> None:
        """Tell of it, unless that was done lately."""
        now_s, reason = time.monotonic(), str(error)
        told, told_s = self._told.get(what, ("", -TELL_AGAIN_S))
        if reason != told or now_s - told_s >= TELL_AGAIN_S:
            self._told[what] = (reason, now_s)
            self._emit(RedisFailed(self._queue, what, reason))

    def teller(self, what: str) -> Callable[[TorilError], None]:
        """A callback that tells of this kind."""
        return lambda error: self.tell(what, error)

    def over(self) -> None:
        """All is well again: the next trouble is news."""
        self._told.clear()
