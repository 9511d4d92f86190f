"""What a processor prints, as bounded lines: pure, bytes in, lines out."""

from __future__ import annotations

from dataclasses import dataclass, field

STREAMS = ("stdout", "stderr")

_TAIL_BYTES = 4096
"""End of stderr that is kept for the report of a death, whatever was dropped; chosen: it holds
faulthandler's stack."""

_MAX_LINE_BYTES = 64 * 1024
"""A line without an end is handed on in pieces of this size; chosen as for log entries."""


@dataclass(slots=True)
class Output:
    """The output of one attempt: both streams and the log share one budget of bytes.

    Attributes:
        budget_bytes: what may still be kept.
        dropped_bytes: what was not.
    """

    budget_bytes: int
    dropped_bytes: int = 0
    _partial: dict[str, bytes] = field(default_factory=lambda: dict.fromkeys(STREAMS, b""))
    _tail: bytes = b""

    def feed(self, stream: str, chunk: bytes) -> list[str]:
        """Take what was read from a stream; return the lines it completes."""
        if stream == "stderr":
            self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
        kept = chunk[: self.budget_bytes]
        self.admit(len(chunk))
        if not kept:
            return []
        *lines, rest = (self._partial[stream] + kept).split(b"\n")
        while len(rest) >= _MAX_LINE_BYTES:
            lines.append(rest[:_MAX_LINE_BYTES])
            rest = rest[_MAX_LINE_BYTES:]
        self._partial[stream] = rest
        return [_text(line) for line in lines]

    def admit(self, count: int) -> bool:
        """Charge `count` bytes; False when they do not all fit, the rest counts as dropped."""
        kept = min(count, self.budget_bytes)
        self.budget_bytes -= kept
        self.dropped_bytes += count - kept
        return kept == count

    def finish(self) -> list[tuple[str, str]]:
        """The unfinished lines, each with its stream, and the mark of what was dropped."""
        last = [(stream, _text(rest)) for stream, rest in self._partial.items() if rest]
        self._partial = dict.fromkeys(STREAMS, b"")
        if self.dropped_bytes:
            last.append(("stderr", f"[output truncated: {self.dropped_bytes} bytes dropped]"))
            self.dropped_bytes = 0
        return last

    @property
    def stderr_tail(self) -> str:
        """The end of stderr."""
        return _text(self._tail)


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "replace")
