"""One round trip of a worker: what left together, and what came back for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toril.runtime.claiming import stopped_full

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toril.errors import TorilError
    from toril.runtime.claim import Claimed, ClaimRequest, Report
    from toril.runtime.pipeline import Posted
    from toril.runtime.settling import Ending, Settled


@dataclass(slots=True)
class Trip:
    """What `Store.send` has sent; `Store.answer` waits for the replies, `Store.read` reads them.

    Attributes:
        reports: what jobs said, a call for each.
        endings: what became of attempts.
        sizes: how many of these each of the next calls writes.
        want: what is claimed by the last call; None: nothing.
        tokens: of the jobs that are claimed.
        posted: the calls.
        replies: one for each call, as Redis gave them; empty before they are there.
    """

    reports: Sequence[Report]
    endings: Sequence[Ending]
    sizes: Sequence[int]
    want: ClaimRequest | None
    tokens: list[str]
    posted: Posted
    replies: list[Any] = field(default_factory=list)

    @property
    def is_plain(self) -> bool:
        """Did it write endings and claim as many jobs as it might, and nothing went wrong?"""
        if self.reports or self.want is None or any(map(_has_error, self.replies)):
            return False
        return stopped_full(self.replies[-1])


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came back, in the order of what was sent; an error stands where its entry failed.

    `RedisUnavailable` in a place may pass (a full server refuses reports, and takes settlements);
    `RedisRefused` would come again.
    """

    reports: list[Settled | TorilError] = field(default_factory=list)
    endings: list[Settled | TorilError] = field(default_factory=list)
    claimed: Claimed | TorilError | None = None


def _has_error(reply: Any) -> bool:
    """Is it one, or holds one in the place of a single ending?"""
    if isinstance(reply, list):
        return any(isinstance(one, Exception) for one in reply)
    return isinstance(reply, Exception)
