"""Is there a queue of that name? A mistyped one is told, with the names that there are."""

from __future__ import annotations

import difflib
from contextlib import closing
from typing import TYPE_CHECKING

from toril.cli.output import say
from toril.errors import RedisRefused
from toril.runtime.drivers import BlockingDriver
from toril.runtime.finding import find_queues, is_queue
from toril.runtime.keys import key_base

if TYPE_CHECKING:
    import argparse

    from toril.supervisor.config.load import Server

MAX_NAMES = 20
"""Names that a message lists; chosen: what fits under it."""


def is_known(server: Server, name: str, options: argparse.Namespace) -> bool:
    """Is there such a queue? If not, say so, and which there are."""
    with closing(BlockingDriver(server.url)) as driver:
        if driver.run(is_queue(key_base(server.prefix, name))):
            return True
        try:
            names = driver.run(find_queues(server.prefix)).names
        except RedisRefused:
            names = []  # Not everybody may SCAN.
    command = f"toril queue {options.action}"
    say(f"{command}: {unknown(name, server.prefix, names)}")
    if hasattr(options, "create"):
        say(f"{command}: if the name is right and the queue comes later, add --create")
    return False


def unknown(name: str, prefix: str, names: list[str]) -> str:
    """What is wrong with a name, in one line."""
    words = f"there is no queue {name!r} with the prefix {prefix!r}"
    if not names:
        return words
    if close := difflib.get_close_matches(name, names, n=1):
        words += f"; did you mean {close[0]!r}?"
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{words} (there: {', '.join(map(repr, names[:MAX_NAMES]))}{more})"
