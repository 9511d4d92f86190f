"""A `toril run` process as a test drives it: awaited events, signals, an end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.support.tied import tied

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).parents[2]

LEDGERS_ALLOWED = ("--allow-write", tempfile.gettempdir(), "--waive", "uid")
"""Processors of tests note what they do in files of the test's own, outside Redis; many children in
one file, which users of their own could not share."""

UNWALLED = ("--level", "process")
"""For jobs that do harm which a wall would keep them from."""


class TorilRun:
    """Starts `toril run … --json` and reads its log; a context manager that leaves nothing behind.

    Args:
        queue: the queue's name.
        processor: `module:attribute`.
        url: the server.
        flags: further command line words.
        command: what to run instead of `-m toril run`.
        environ: variables besides our own.
    """

    def __init__(
        self,
        queue: str,
        processor: str,
        url: str,
        *flags: str,
        command: tuple[str, ...] = ("-m", "toril", "run"),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        words = ["--queue", queue, "--processor", processor, "--redis", url, "--json"]
        words += [*LEDGERS_ALLOWED, *flags]
        self.events: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            tied([sys.executable, *command, *words]),
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            # Two different signals: equal ones may arrive as one. The second means "at once".
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def wait_for(
        self, event: str, *, timeout_s: float = 20, count: int = 1, **fields: Any
    ) -> list[dict[str, Any]]:
        """Wait until so many such events were logged; returns them all."""
        return self.wait_until(
            lambda: self.found(event, **fields), lambda found: len(found) >= count, timeout_s
        )

    def found(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The events of that name, and with these fields, so far."""
        return [
            seen
            for seen in list(self.events)
            if seen["event"] == event and all(seen[name] == fields[name] for name in fields)
        ]

    def wait_until(
        self, look: Callable[[], Any], is_enough: Callable[[Any], bool], timeout_s: float
    ) -> Any:
        """Look again at every log line until it is enough."""
        until = time.monotonic() + timeout_s
        with self._changed:
            while not is_enough(found := look()):
                remaining = until - time.monotonic()
                if remaining <= 0 or (
                    self.process.poll() is not None and not self._reader.is_alive()
                ):
                    raise AssertionError("\n".join(["waited in vain; the log:", *self.lines]))
                self._changed.wait(min(remaining, 0.2))
        return found

    def ready(self) -> Self:
        """Wait until the queue is worked."""
        try:
            self.wait_for("worker-started")
        except BaseException:
            self.__exit__()
            raise
        return self

    def exit_code(self, timeout_s: float = 30) -> int:
        """Wait for the end."""
        return self.process.wait(timeout=timeout_s)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                if line.startswith("{"):
                    self.events.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()
