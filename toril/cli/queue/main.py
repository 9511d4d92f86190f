"""`toril queue`: pause, resume, drain and limits of one queue; or which queues there are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from toril.cli.asking import DECLINED, is_wanted, need_terminal
from toril.cli.jobs.acting import SAMPLE
from toril.cli.jobs.listing import listed, show_table
from toril.cli.output import put, put_json, say
from toril.cli.queue.known import is_known
from toril.cli.queue.limits import limits
from toril.cli.queue.listing import list_queues
from toril.cli.records import Planned, QueueDrained, QueuePaused
from toril.cli.sources import server_of
from toril.runtime.queue import Queue
from toril.visible import visible

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

_WAITING = ("waiting", "prioritized", "paused")


def main(options: argparse.Namespace) -> int:
    """Run one action."""
    server = server_of(options)
    if options.action == "list":
        return list_queues(server, options)
    with Queue(options.queue, redis=server.url, prefix=server.prefix) as queue:
        if not (_creates(options) or is_known(server, queue.name, options)):
            return os.EX_UNAVAILABLE
        return _ACTIONS[options.action](queue, options)


def _creates(options: argparse.Namespace) -> bool:
    return getattr(options, "create", False)


def _pause(queue: Queue, options: argparse.Namespace) -> int:
    queue.pause()
    return _tell_paused(queue, options)


def _resume(queue: Queue, options: argparse.Namespace) -> int:
    queue.resume()
    return _tell_paused(queue, options)


def _tell_paused(queue: Queue, options: argparse.Namespace) -> int:
    found = QueuePaused(queue.name, queue.is_paused())
    if options.json:
        put_json(found)
    else:
        put(f"{visible(queue.name)} is {'paused' if found.is_paused else 'not paused'}")
    return os.EX_OK


def _drain(queue: Queue, options: argparse.Namespace) -> int:
    """Remove what waits, after asking.

    Raises:
        UsageError: nobody to ask.
    """
    need_terminal(options)
    states = (*_WAITING, "delayed") if options.delayed else _WAITING
    before = _count(queue, states)
    if options.dry_run:
        return _show_plan(queue, states, before, options)
    question = f"remove {before} jobs of queue {queue.name!r}?"
    if not (options.yes or not before or is_wanted(question)):
        return DECLINED
    queue.drain(delayed=options.delayed)
    left = _count(queue, states)
    done = QueueDrained(queue.name, max(0, before - left), left)
    if options.json:
        put_json(done)
    else:
        put(f"{done.removed} removed, {done.left} left (new ones, or the next of schedules)")
    return os.EX_OK


def _show_plan(
    queue: Queue, states: tuple[str, ...], count: int, options: argparse.Namespace
) -> int:
    sample = [
        listed(state, job)
        for state in states
        for job in queue.get_jobs(state, 0, SAMPLE - 1, ascending=True)
    ][:SAMPLE]
    if options.json:
        put_json(Planned("drain", queue.name, count, sample))
        return os.EX_OK
    put(f"drain would remove {count} jobs of queue {visible(queue.name)}")
    if sample:
        show_table(sample)
    else:
        say("nothing waits")
    return os.EX_OK


def _count(queue: Queue, states: tuple[str, ...]) -> int:
    counts = queue.counts()
    return sum(counts[state] for state in states)


_ACTIONS: dict[str, Callable[[Queue, argparse.Namespace], int]] = {
    "pause": _pause,
    "resume": _resume,
    "drain": _drain,
    "limits": limits,
}
