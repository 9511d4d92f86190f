"""What an attempt used, measured by the supervisor from outside the child."""

from __future__ import annotations

import os
import time

from toril.call import Usage
from toril.sandbox import proc

_SAME_MOMENT_S = 0.0005
"""Between two attempts, below which the CPU clock is not read again; chosen: half of what is told
of it, and a child that gets its next call at once has done nothing in between."""


class Meter:
    """Reads one child's clocks and size; `start` and `stop` enclose an attempt.

    The size before an attempt is the size after the one before it: an idle child does nothing.
    Attempts whose ends are heard together are measured once: what they used is the first one's.
    """

    def __init__(self, pid: int) -> None:
        """Made at READY: growth is counted from here."""
        self._pid = pid
        self._sizes_fd = proc.open_sizes(pid)
        self._status_fd = proc.open_status(pid)
        first = self._look()
        self._first_own_bytes = None if first is None else first[0]
        self._ready_bytes = self._rss_bytes = self._read_rss()
        self._cpu_ms: float | None = None
        self._start_s = 0.0
        self._last_cpu_ms: float | None = None
        self._last_stop_s = 0.0
        self._is_measured = False

    @property
    def growth_bytes(self) -> int | None:
        """Growth since READY, as measured after the last attempt."""
        return _difference(self._rss_bytes, self._ready_bytes)

    @property
    def wall_ms(self) -> int:
        """How long ago the last attempt began."""
        return round((time.monotonic() - self._start_s) * 1000)

    def start(self) -> None:
        """An attempt begins."""
        self._start_s = now_s = time.monotonic()
        if now_s - self._last_stop_s < _SAME_MOMENT_S:
            self._cpu_ms = self._last_cpu_ms
        else:
            self._cpu_ms = proc.cpu_ms(self._pid)

    def growth_and_threads(self) -> tuple[int, int] | None:
        """Growth since it was made, mapped files left out, and threads; None: the child is gone."""
        now = self._look()
        if now is None or self._first_own_bytes is None:
            return None
        return now[0] - self._first_own_bytes, now[1]

    def cpu_now_ms(self) -> float | None:
        """CPU time that the attempt has used so far; None when the child is gone."""
        now_ms = proc.cpu_ms(self._pid)
        return None if now_ms is None or self._cpu_ms is None else now_ms - self._cpu_ms

    def stop(
        self,
        *,
        is_alive: bool,
        total_cpu_ms: float | None = None,
        peak_bytes: int | None = None,
    ) -> Usage:
        """The attempt is over.

        Args:
            is_alive: the child is there and can be asked.
            total_cpu_ms: for a dead child, user and system time of its whole life.
            peak_bytes: what the child says of its largest size.
        """
        self._last_stop_s = now_s = time.monotonic()
        wall_ms = round((now_s - self._start_s) * 1000)
        before, growth = self._rss_bytes, None
        if not is_alive:
            self._last_cpu_ms = total_cpu_ms
        elif not self._is_measured:
            self._is_measured = True
            self._last_cpu_ms, self._rss_bytes = proc.cpu_ms(self._pid), self._read_rss()
        if is_alive:
            growth = _difference(self._rss_bytes, before)
        cpu_ms, now_ms = None, self._last_cpu_ms
        if now_ms is not None and self._cpu_ms is not None:
            cpu_ms = max(0, round(now_ms - self._cpu_ms))
        return Usage(wall_ms, cpu_ms, growth, peak_bytes)

    def turn(self) -> None:
        """What ends from here on is heard later."""
        self._is_measured = False

    def close(self) -> None:
        """Measure nothing any more."""
        if self._sizes_fd is not None:
            os.close(self._sizes_fd)
            self._sizes_fd = None
        if self._status_fd is not None:
            os.close(self._status_fd)
            self._status_fd = None

    def _read_rss(self) -> int | None:
        return None if self._sizes_fd is None else proc.rss_bytes(self._sizes_fd)

    def _look(self) -> tuple[int, int] | None:
        return None if self._status_fd is None else proc.own_bytes_and_threads(self._status_fd)


def _difference(now: int | None, before: int | None) -> int | None:
    return None if now is None or before is None else now - before
