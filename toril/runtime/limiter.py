"""The global rate limit of a queue: its value, its bounds, and the commands that set it.

The limit itself lives in Redis and is applied by the claiming script. A change must keep: every
number the script computes with stays an exact double.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toril.errors import InvalidOption
from toril.runtime.command import REAL_TIME, Command
from toril.runtime.numbers import EXACT
from toril.units import duration_ms, format_ms

if TYPE_CHECKING:
    from datetime import timedelta

_US_PER_MS = 1000


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket shared by all workers of a queue.

    In every window of length d at most `burst + d * tokens / per` jobs are claimed.

    Attributes:
        tokens: refilled per `per_ms`.
        per_ms: the period.
        burst: what the bucket holds, so what may start at once.
        revision: a configuration's limit replaces one with a lower revision.
    """

    tokens: int
    per_ms: int
    burst: int
    revision: int = 0

    def __post_init__(self) -> None:
        for field, least in (("tokens", 1), ("per_ms", 1), ("burst", 1), ("revision", 0)):
            _check_integer(f"rate limit: {field}", getattr(self, field), least)
        if self.burst * self.per_us >= EXACT:
            raise InvalidOption(
                f"rate limit: a burst of {self.burst} over {self.per_ms} ms is too much to count "
                f"exactly; expected at most {(EXACT - 1) // self.per_us} at this period"
            )

    @classmethod
    def of(
        cls, tokens: int, per: str | timedelta = "60s", *, burst: int | None = None
    ) -> RateLimit:
        """`tokens` per `per`; a burst of as many unless said otherwise.

        Raises:
            InvalidOption: a number below 1, no duration, or too much to count exactly.
        """
        per_ms = duration_ms(per, "rate limit: per")
        return cls(tokens, per_ms, tokens if burst is None else burst)

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.tokens} in {format_ms(self.per_ms)}, bursts of {self.burst}"

    @property
    def per_us(self) -> int:
        """The period in microseconds, in which the scripts count."""
        return self.per_ms * _US_PER_MS

    def as_args(self) -> tuple[int | str, ...]:
        """The limit as scripts take it: tokens, per_us, burst, revision."""
        return self.tokens, self.per_us, self.burst, self.revision


NO_LIMIT_ARGS: tuple[int | str, ...] = ("", "", "", "")
"""What scripts take where there is no limit."""


def set_limit(base: str, limit: RateLimit) -> Command[RateLimit | None]:
    """Apply a limit at once, to all workers."""
    return _command(base, "set", limit.as_args())


def offer_limit(base: str, limit: RateLimit | None) -> Command[RateLimit | None]:
    """A configuration's limit: written where none is, or where its revision is higher.

    Its answer is the limit in force, which may be another one.
    """
    return _command(base, "offer", NO_LIMIT_ARGS if limit is None else limit.as_args())


def remove_limit(base: str) -> Command[RateLimit | None]:
    """No limit of ours any more."""
    return _command(base, "remove", NO_LIMIT_ARGS)


def parse_limit(reply: Any) -> RateLimit | None:
    """The limit a script reports as tokens, per_us, burst, revision; nothing for none."""
    if not reply:
        return None
    tokens, per_us, burst, revision = (int(part) for part in reply)
    return RateLimit(tokens, per_us // _US_PER_MS, burst, revision)


def _command(base: str, mode: str, limit: tuple[int | str, ...]) -> Command[RateLimit | None]:
    return Command("limit", (base,), (REAL_TIME, mode, *limit), parse_limit)


def _check_integer(what: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidOption(f"{what} is {value!r}; expected a whole number of at least {least}")
