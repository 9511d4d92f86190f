"""`toril status`: which supervisors there are, what they do and what is wrong with them."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from toril.cli.fleet import FleetStatus, find_queues, look
from toril.cli.sources import server_of
from toril.runtime.drivers import BlockingDriver
from toril.units import format_bytes, format_ms

if TYPE_CHECKING:
    import argparse

    from toril.cli.fleet import QueueStatus, SupervisorStatus
    from toril.runtime.dialog import Program

UNHEALTHY = 1
"""Exit code: there are supervisors, and one complains."""

UNCUT_COLUMNS = 200
"""Of output that is no terminal; chosen: a line per supervisor and queue fits."""

NOBODY = "no supervisor was heard of in the last 30 s"


def main(options: argparse.Namespace) -> int:
    """Show the fleet once: 0 all are well, 1 somebody is not, 69 there is nobody."""
    server = server_of(options)
    with closing(BlockingDriver(server.url)) as driver:
        found = driver.run(seen(options, server.prefix))
    if options.json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        show(found, console())
    return exit_code(found)


def console() -> Console:
    """Where answers for people go; a file or a pipe has room for whole lines."""
    width = None if sys.stdout.isatty() else UNCUT_COLUMNS
    return Console(highlight=False, width=width)


def seen(options: argparse.Namespace, prefix: str) -> Program[FleetStatus]:
    """What a command line asks for: `queue` names, and `here`."""
    queues = yield from find_queues(prefix, options.queue)
    host = socket.gethostname() if options.here else None
    return (yield from look(prefix, queues, host))


def exit_code(found: FleetStatus) -> int:
    """The answer for scripts."""
    if not found.supervisors:
        return os.EX_UNAVAILABLE
    return os.EX_OK if found.is_healthy else UNHEALTHY


def show(found: FleetStatus, screen: Console) -> None:
    """The answer for people; nothing in it can command a terminal."""
    if not found.supervisors:
        sys.stderr.write(f"toril status: {NOBODY}\n")
        return
    screen.print(supervisors_table(found))
    for line in complaints(found):
        screen.print(line)


def complaints(found: FleetStatus) -> list[Text]:
    """A line for everything that is wrong."""
    return [
        Text.assemble(plain(one.host), f" {one.pid}: ", plain(complaint), style="red")
        for one in found.supervisors
        for complaint in one.complaints
    ]


def supervisors_table(found: FleetStatus) -> Table:
    """One line per supervisor and queue."""
    table = Table(box=None, pad_edge=False)
    for name in ("HOST", "PID", "STATE", "QUEUE"):
        table.add_column(name, no_wrap=name != "QUEUE")
    for name in ("BUSY", "DONE", "MEMORY", "REDIS", "UP", "SEEN"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("VERSION", no_wrap=True)
    for one in found.supervisors:
        for queue in one.queues:
            table.add_row(*_cells(one, queue))
    return table


def _cells(one: SupervisorStatus, queue: QueueStatus) -> tuple[str | Text, ...]:
    state = one.state if one.is_healthy else f"{one.state}, unwell"
    round_trip = "-" if one.round_trip_ms is None else f"{one.round_trip_ms:.1f} ms"
    return (
        plain(one.host),
        str(one.pid),
        plain(state, "green" if one.is_healthy else "red"),
        plain(queue.name),
        f"{queue.running}/{queue.concurrency}",
        str(queue.settled),
        format_bytes(one.memory_bytes + queue.children_memory_bytes),
        round_trip,
        format_ms(one.up_s * 1000),
        format_ms(one.seen_s * 1000),
        plain(one.version),
    )


def plain(text: str, style: str = "") -> Text:
    """Other people's text for a terminal: visible, and no markup."""
    return Text("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text), style)
