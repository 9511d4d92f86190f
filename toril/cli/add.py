"""`toril add`: one job from the command line; prints its id."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from toril.cli.sources import server_of
from toril.errors import InvalidJobData, InvalidOption
from toril.runtime.options import Backoff
from toril.runtime.queue import Queue
from toril.units import whole

if TYPE_CHECKING:
    import argparse


_FLAGS = frozenset({"attempts", "backoff", "delay", "prefix", "priority"})
"""Options whose flag is their own name, with which their refusal begins."""


def main(options: argparse.Namespace) -> int:
    """Add the job; its id goes to standard output."""
    data = _data(options.data)
    try:
        job_id = _added(options, data)
    except InvalidOption as error:
        name = str(error).partition(" ")[0]
        raise InvalidOption(f"--{error}" if name in _FLAGS else str(error)) from None
    sys.stdout.write((json.dumps({"id": job_id}) if options.json else job_id) + "\n")
    return os.EX_OK


def _data(text: str) -> Any:
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except (ValueError, RecursionError) as error:
        raise InvalidJobData(f"--data is not JSON: {error}; nothing was added") from None


def _added(options: argparse.Namespace, data: Any) -> str:
    server = server_of(options)
    with Queue(options.queue, redis=server.url, prefix=server.prefix) as queue:
        return queue.add(
            options.name,
            data,
            job_id=options.job_id,
            delay=options.delay,
            priority=_number(options.priority, "--priority"),
            lifo=options.lifo,
            attempts=_number(options.attempts, "--attempts"),
            backoff=Backoff.exponential(options.backoff) if options.backoff else None,
        ).id


def _number(value: str | None, what: str) -> int | None:
    return None if value is None else whole(value, what)
