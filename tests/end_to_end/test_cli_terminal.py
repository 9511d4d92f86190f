"""Commands on a terminal ask before they change many jobs; into a closed pipe they end quietly."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time

import pytest

from tests.support.tied import tied
from toril import NewJob, Queue

LONGEST_S = 30


class Terminal:
    """A command on a pseudo-terminal, with its standard output elsewhere."""

    def __init__(self, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            tied([sys.executable, "-m", "toril", *words]),
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
        )
        os.close(theirs)
        self.said = ""

    def wait_for(self, text: str) -> None:
        """Read until it says this."""
        deadline = time.monotonic() + LONGEST_S
        while text not in self.said:
            left_s = deadline - time.monotonic()
            ready, _, _ = select.select([self._ours], [], [], max(0, left_s))
            assert ready, self.said
            self.said += os.read(self._ours, 4096).decode()

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def end(self) -> int:
        """Its exit code."""
        try:
            return self.process.wait(LONGEST_S)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self._ours)


@pytest.fixture
def queue(redis_url):
    with Queue("q", redis=redis_url) as queue:
        queue.add_bulk(NewJob(f"job-{at}", delay="1h") for at in range(7))
        yield queue


@pytest.mark.parametrize(
    ("answer", "code", "delayed"), [("y\n", 0, 0), ("\n", 1, 7), ("no\n", 1, 7)]
)
def test_many_jobs_are_changed_after_a_yes_only(queue, redis_url, answer, code, delayed):
    terminal = Terminal("jobs", "promote", "--queue", "q", "--all", "--redis", redis_url)
    terminal.wait_for("[y/N]")
    terminal.type(answer)
    assert terminal.end() == code
    assert "promote 7 jobs of queue 'q'?" in terminal.said
    assert "and 2 more" in terminal.said
    assert queue.counts()["delayed"] == delayed


def test_a_reader_that_has_enough_costs_no_traceback(queue, redis_url):
    queue.add_bulk(NewJob("a") for _ in range(2000))
    words = ["jobs", "list", "--queue", "q", "--limit", "0", "--json", "--redis", redis_url]
    process = subprocess.Popen(
        tied([sys.executable, "-m", "toril", *words]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline().startswith("{")
        process.stdout.close()
        assert process.wait(LONGEST_S) == 141
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
