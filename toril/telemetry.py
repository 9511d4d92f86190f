"""The trace that a job belongs to: BullMQ's `telemetry` option, carried and never looked into."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from toril.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What a job carries of its producer's trace.

    Attributes:
        metadata: the carrier as text, whatever the producer's tracing library makes of it (for
            OpenTelemetry the JSON text of `{"traceparent": …}`); empty for none.
        omit_context: the job is not to be linked with its producer's trace, nor hand its own on.
    """

    metadata: str = ""
    _: KW_ONLY
    omit_context: bool = False

    @classmethod
    def of(cls, opts: Mapping[str, Any]) -> Telemetry | None:
        """What stands in a job's stored options; None where there is none."""
        metadata, omits = opts.get("tm"), opts.get("omc")
        if not isinstance(metadata, str):
            return cls(omit_context=True) if omits else None
        return cls(metadata, omit_context=bool(omits))

    def handed_on(self) -> Telemetry | None:
        """What a job that this one adds carries; None for nothing."""
        return Telemetry(self.metadata) if self.metadata and not self.omit_context else None

    def as_stored(self) -> dict[str, str | bool]:
        """The stored options, BullMQ's names.

        Raises:
            InvalidOption: the metadata is no text, or the flag no boolean.
        """
        if not isinstance(self.metadata, str):
            raise InvalidOption(f"telemetry: metadata is {self.metadata!r}; expected text")
        try:
            self.metadata.encode()
        except UnicodeEncodeError:
            raise InvalidOption(
                "telemetry: metadata holds a lone surrogate; expected text"
            ) from None
        if not isinstance(self.omit_context, bool):
            raise InvalidOption(
                f"telemetry: omit_context is {self.omit_context!r}; expected True or False"
            )
        stored: dict[str, str | bool] = {"tm": self.metadata} if self.metadata else {}
        return stored | {"omc": True} if self.omit_context else stored
