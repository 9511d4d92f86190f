"""What goes wrong again and again, told now and then only."""

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
        self._told_s: dict[str, float] = {}

    def tell(self, what: str, error: TorilError) -> None:
        """Tell of it, unless that was done lately."""
        now_s = time.monotonic()
        if now_s - self._told_s.get(what, -TELL_AGAIN_S) >= TELL_AGAIN_S:
            self._told_s[what] = now_s
            self._emit(RedisFailed(self._queue, what, str(error)))

    def teller(self, what: str) -> Callable[[TorilError], None]:
        """A callback that tells of this kind."""
        return lambda error: self.tell(what, error)

    def over(self) -> None:
        """All is well again: the next trouble is news."""
        self._told_s.clear()
