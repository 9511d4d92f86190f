"""`toril top`: the fleet, its queues and what runs, once a second until `q` or Ctrl-C."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from toril.cli.fleet import FleetStatus, find_queues
from toril.cli.sources import server_of
from toril.cli.status import NOBODY, complaints, console, exit_code, plain, seen, supervisors_table
from toril.errors import RedisUnavailable
from toril.runtime.depth import Depth, depth
from toril.runtime.drivers import BlockingDriver
from toril.runtime.keys import key_base
from toril.units import format_ms

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping

    from rich.console import Console

    from toril.runtime.dialog import Program

EVERY_S = 1.0
"""Between two looks; chosen: people read no faster."""

MAX_JOBS = 20
"""Running jobs that are shown, the longest first; chosen: half a screen."""

STATES = ("waiting", "prioritized", "delayed", "active", "completed", "failed")
QUIT = {b"q", b"Q", b"\x04", b""}
"""Keys that leave, the end of input included; Ctrl-C is a signal."""

LEAVE = b"q"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that leave as that key does."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment.

    Attributes:
        found: the supervisors.
        depths: queue → how deep it is.
    """

    found: FleetStatus
    depths: Mapping[str, Depth]


def main(options: argparse.Namespace) -> int:
    """Watch; where standard output is no terminal, print one snapshot."""
    server = server_of(options)
    with closing(BlockingDriver(server.url)) as driver:

        def take() -> Snapshot:
            return driver.run(snapshot(options, server.prefix))

        screen = console()
        if screen.is_terminal and sys.stdin.isatty():
            return watch(take, screen)
        taken = take()
        screen.print(view(taken))
        return exit_code(taken.found)


def snapshot(options: argparse.Namespace, prefix: str) -> Program[Snapshot]:
    """Read everything that is shown."""
    found = yield from seen(options, prefix)
    worked = {queue.name for one in found.supervisors for queue in one.queues}
    named = yield from find_queues(prefix, options.queue or sorted(worked) or ())
    depths = {}
    for queue in named:
        depths[queue] = yield from depth(key_base(prefix, queue))
    return Snapshot(found, depths)


def watch(take: Callable[[], Snapshot], screen: Console) -> int:
    """Look again and again on the other screen of the terminal, until a key says that it is enough.

    A Redis that is away is shown, and looked for again.
    """
    with (
        keys(sys.stdin.fileno()) as pressed,
        Live(console=screen, screen=True, auto_refresh=False) as live,
    ):
        while True:
            try:
                shown: Group | Text = view(take())
            except RedisUnavailable as error:
                shown = Text(str(error), style="red")
            live.update(shown, refresh=True)
            if pressed(EVERY_S):
                break
    return os.EX_OK


@contextmanager
def keys(descriptor: int) -> Iterator[Callable[[float], bool]]:
    """Read keys one by one, unseen; the terminal is afterwards as it was.

    A signal to leave is a key like any other, so that it strikes between two looks and not in the
    midst of one; a second one ends at once.

    Yields:
        A function that waits for so many seconds: did somebody ask to leave?
    """
    before = termios.tcgetattr(descriptor)
    signalled, signal_write = os.pipe()

    def leave(number: int, _frame: object) -> None:
        os.write(signal_write, LEAVE)
        signal.signal(number, handlers[signal.Signals(number)])

    def pressed(timeout_s: float) -> bool:
        until_s = time.monotonic() + timeout_s
        while (left_s := until_s - time.monotonic()) > 0:
            ready, _, _ = select.select([descriptor, signalled], [], [], left_s)
            if any(os.read(one, 1) in QUIT for one in ready):
                return True
        return False

    handlers = {number: signal.signal(number, leave) for number in SIGNALS}
    try:
        tty.setcbreak(descriptor)
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(signalled)
        os.close(signal_write)


def view(taken: Snapshot) -> Group:
    """The screen: queues, supervisors, complaints, running jobs."""
    found = taken.found
    parts: list[Table | Text] = [queues_table(taken), Text()]
    if found.supervisors:
        parts += [supervisors_table(found), Text()]
    else:
        parts.append(Text(NOBODY, style="red"))
    parts += complaints(found)
    parts.append(jobs_table(found))
    return Group(*parts)


def queues_table(taken: Snapshot) -> Table:
    """Counts by state, the age of the oldest, and attempts that end per second."""
    table = Table(box=None, pad_edge=False)
    table.add_column("QUEUE")
    for name in (*STATES, "oldest", "ends/s"):
        table.add_column(name.upper(), justify="right")
    worked = [queue for one in taken.found.supervisors for queue in one.queues]
    for name, one in taken.depths.items():
        speed = sum(queue.ends_per_s for queue in worked if queue.name == name)
        table.add_row(
            plain(name),
            *(str(one.counts.get(state, 0)) for state in STATES),
            format_ms(one.oldest_waiting_s * 1000) if one.oldest_waiting_s else "-",
            f"{speed:.1f}",
        )
    return table


def jobs_table(found: FleetStatus) -> Table:
    """What runs longest."""
    table = Table(box=None, pad_edge=False)
    for name in ("JOB", "NAME", "QUEUE", "HOST"):
        table.add_column(name)
    table.add_column("RUNS", justify="right")
    running = [
        (job, queue.name, one.host)
        for one in found.supervisors
        for queue in one.queues
        for job in queue.jobs
    ]
    running.sort(key=lambda entry: -entry[0].ran_s)
    for job, queue, host in running[:MAX_JOBS]:
        cells = (plain(text) for text in (job.id, job.name, queue, host))
        table.add_row(*cells, format_ms(job.ran_s * 1000))
    return table
