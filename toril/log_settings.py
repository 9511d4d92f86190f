"""What a log is told: how much it says, in which form, and what it keeps to itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from toril.checks import refuse
from toril.redaction import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""Names of levels and their numbers, as in the standard library's `logging`."""

FORMATS = ("auto", "text", "json")

SECRETS = ("password", "passwd", "secret", "token", "api_key", "api-key", "apikey", "authorization")
"""Names whose values are masked unless the settings name others; chosen: what people print."""

LevelName: TypeAlias = Literal["debug", "info", "warning", "error"]
Format: TypeAlias = Literal["auto", "text", "json"]


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The log of one supervisor.

    Attributes:
        level: the least that is said; `debug` adds a line for every start of an attempt and for
            every job that a job adds.
        format: `auto` is fields under the journal, else text.
        redact: names whose values are masked in what jobs print, log and fail with.
    """

    level: LevelName = "info"
    format: Format = "auto"
    redact: tuple[str, ...] = SECRETS

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            InvalidSettings: a level or format that there is not, or a name that is none.
        """
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        if self.level not in LEVELS:
            yield f"level is {self.level!r}; expected one of {', '.join(LEVELS)}"
        if self.format not in FORMATS:
            yield f"format is {self.format!r}; expected one of {', '.join(FORMATS)}"
        for name in self.redact:
            if not NAME.fullmatch(name):
                yield (
                    f"redact names {name!r}; expected words of 2 to 64 letters, digits, '_', '-' "
                    "and '.', such as password"
                )
