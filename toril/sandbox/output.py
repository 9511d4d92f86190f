"""What a processor prints, as bounded lines: pure, bytes in, lines out."""

from __future__ import annotations

from dataclasses import dataclass, field

from toril.sandbox.stack import is_ours

STREAMS = ("stdout", "stderr")

_TAIL_BYTES = 4096
"""End of stderr that is kept for the report of a death, whatever was dropped; chosen: it holds
faulthandler's stack."""

_MAX_LINE_BYTES = 64 * 1024
"""A line without an end is handed on in pieces of this size; chosen as for log entries."""


@dataclass(slots=True)
class Output:
    """The output of one attempt: both streams and the log share one budget of bytes and of lines.

    Attributes:
        budget_bytes: what may still be kept.
        budget_lines: the same in lines.
        dropped_bytes: what was not; a line that was dropped for its number counts here too.
        dropped_lines: lines that were not, as far as anybody counted them.
        is_fresh: nothing was taken yet.
    """

    budget_bytes: int
    budget_lines: int
    dropped_bytes: int = 0
    dropped_lines: int = 0
    is_fresh: bool = True
    _partial: dict[str, bytes] = field(default_factory=lambda: dict.fromkeys(STREAMS, b""))
    _tail: bytes = b""

    def feed(self, stream: str, chunk: bytes) -> list[str]:
        """Take what was read from a stream; return the lines it completes."""
        self.is_fresh = False
        if stream == "stderr":
            self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
        if self.budget_lines == 0:
            self.dropped_bytes += len(chunk)
            self.dropped_lines += chunk.count(b"\n")
            return []
        kept = chunk[: self.budget_bytes]
        self._charge(len(chunk))
        self.dropped_lines += chunk.count(b"\n", len(kept))
        *lines, rest = (self._partial[stream] + kept).split(b"\n")
        while len(rest) >= _MAX_LINE_BYTES:
            lines.append(rest[:_MAX_LINE_BYTES])
            rest = rest[_MAX_LINE_BYTES:]
        self._partial[stream] = rest
        return [_text(line) for line in self._within(lines) if not _is_ours(stream, line)]

    def admit(self, count: int, lines: int) -> bool:
        """Charge one entry whole; False when it does not fit, it counts as dropped."""
        self.is_fresh = False
        if self.budget_lines < lines:
            self.dropped_bytes += count
            self.dropped_lines += lines
            self.budget_lines = 0
            return False
        self.budget_lines -= lines
        return self._charge(count)

    def _charge(self, count: int) -> bool:
        kept = min(count, self.budget_bytes)
        self.budget_bytes -= kept
        self.dropped_bytes += count - kept
        return kept == count

    def _within(self, lines: list[bytes]) -> list[bytes]:
        kept, rest = lines[: self.budget_lines], lines[self.budget_lines :]
        self.budget_lines -= len(kept)
        self.dropped_lines += len(rest)
        self.dropped_bytes += sum(map(len, rest)) + len(rest)
        return kept

    def finish(self) -> list[tuple[str, str]]:
        """The unfinished lines, each with its stream, and the mark of what was dropped."""
        last = [(stream, _text(rest)) for stream, rest in self._partial.items() if rest]
        self._partial = dict.fromkeys(STREAMS, b"")
        if self.dropped_bytes or self.dropped_lines:
            lines = f" in {self.dropped_lines} lines" if self.dropped_lines else ""
            mark = f"[output truncated: {self.dropped_bytes} bytes{lines} dropped]"
            last.append(("stderr", mark))
            self.dropped_bytes = self.dropped_lines = 0
        return last

    @property
    def stderr_tail(self) -> str:
        """The end of stderr."""
        lines = self._tail.split(b"\n")
        return _text(b"\n".join(line for line in lines if not _is_ours("stderr", line)))


def _is_ours(stream: str, line: bytes) -> bool:
    """Whether faulthandler names a frame of toril's own child here."""
    return stream == "stderr" and line.startswith(b"  File ") and is_ours(_text(line))


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "replace")
