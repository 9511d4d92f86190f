"""`toril jobs`: which action answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toril.cli.jobs import shown
from toril.cli.jobs.acting import change_jobs
from toril.cli.jobs.listing import list_jobs
from toril.cli.sources import server_of
from toril.runtime.queue import Queue

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

_ACTIONS: dict[str, Callable[[Queue, argparse.Namespace], int]] = {
    "list": list_jobs,
    "show": shown.show,
    "logs": shown.logs,
    "stack": shown.stack,
    **dict.fromkeys(("retry", "promote", "remove", "cancel"), change_jobs),
}


def main(options: argparse.Namespace) -> int:
    """Run one action on one queue."""
    server = server_of(options)
    with Queue(options.queue, redis=server.url, prefix=server.prefix) as queue:
        return _ACTIONS[options.action](queue, options)
