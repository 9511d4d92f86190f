"""What an attempt used, measured by the supervisor from outside the child."""

from __future__ import annotations

import time

import psutil

from toril.call import Usage
from toril.sandbox import proc


class Meter:
    """Reads one child's clocks and size; `start` and `stop` enclose an attempt.

    The size before an attempt is the size after the one before it: an idle child does nothing.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._process: psutil.Process | None = None
        self._rss_bytes: int | None = None
        self._cpu_ms: float | None = None
        self._start_s = 0.0

    def start(self) -> None:
        """An attempt begins."""
        if self._rss_bytes is None:
            self._rss_bytes = self._read_rss()
        self._cpu_ms = proc.cpu_ms(self._pid)
        self._start_s = time.monotonic()

    def stop(self, *, is_alive: bool, total_cpu_ms: float | None = None) -> Usage:
        """The attempt is over.

        Args:
            is_alive: the child is there and can be asked.
            total_cpu_ms: for a dead child, user and system time of its whole life.
        """
        wall_ms = round((time.monotonic() - self._start_s) * 1000)
        now_ms = proc.cpu_ms(self._pid) if is_alive else total_cpu_ms
        cpu_ms = None
        if now_ms is not None and self._cpu_ms is not None:
            cpu_ms = max(0, round(now_ms - self._cpu_ms))
        growth = None
        if is_alive:
            before, self._rss_bytes = self._rss_bytes, self._read_rss()
            if before is not None and self._rss_bytes is not None:
                growth = self._rss_bytes - before
        return Usage(wall_ms, cpu_ms, growth)

    def _read_rss(self) -> int | None:
        try:
            self._process = self._process or psutil.Process(self._pid)
            return int(self._process.memory_info().rss)
        except psutil.Error:
            return None
