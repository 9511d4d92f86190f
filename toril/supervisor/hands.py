"""Claims that lie ready in the hands of children at work: claimed, given to one, not begun."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toril.call import Call
    from toril.runtime.claim import Claim
    from toril.sandbox.handle import Child
    from toril.supervisor.line import Standing


class Hands:
    """Which claims lie ready for whom, in the order in which they will be begun."""

    def __init__(self) -> None:
        self._ready: dict[Child, deque[tuple[Call, Standing]]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Claims that lie ready, for all children."""
        return self._count

    def count(self, child: Child) -> int:
        """Claims that lie ready for this child."""
        ready = self._ready.get(child)
        return 0 if ready is None else len(ready)

    def put(self, child: Child, call: Call, standing: Standing) -> None:
        """Behind the others of this child."""
        self._ready.setdefault(child, deque()).append((call, standing))
        self._count += 1

    def pop(self, child: Child) -> Standing:
        """What this child has begun now; there must be one."""
        ready = self._ready[child]
        self._count -= 1
        _, standing = ready.popleft()
        if not ready:
            del self._ready[child]
        return standing

    def take(self, child: Child, calls: Sequence[Call]) -> list[Standing]:
        """Take out those of these calls that lie ready, in order."""
        ids, ready = {id(call) for call in calls}, self._ready.pop(child, deque())
        taken = [standing for call, standing in ready if id(call) in ids]
        self._count -= len(taken)
        if rest := deque(pair for pair in ready if id(pair[0]) not in ids):
            self._ready[child] = rest
        return taken

    def holder(self, claim: Claim) -> Child | None:
        """Who has it; None where it does not lie ready."""
        for child, ready in self._ready.items():
            if any(one.claim is claim for _, one in ready):
                return child
        return None
