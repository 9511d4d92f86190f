"""`toril add`: one job from the command line; prints its id."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from toril.errors import InvalidJobData
from toril.runtime.options import Backoff
from toril.runtime.queue import Queue
from toril.supervisor.run import redis_url

if TYPE_CHECKING:
    import argparse


def main(options: argparse.Namespace) -> int:
    """Add the job; its id goes to standard output."""
    text = sys.stdin.read() if options.data == "-" else options.data
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InvalidJobData(f"--data is not JSON: {error}; nothing was added") from None
    with Queue(options.queue, redis=redis_url(options), prefix=options.prefix) as queue:
        job = queue.add(
            options.name,
            data,
            job_id=options.job_id,
            delay=options.delay,
            priority=options.priority,
            lifo=options.lifo,
            attempts=options.attempts,
            backoff=Backoff.exponential(options.backoff) if options.backoff else None,
        )
    sys.stdout.write((json.dumps({"id": job.id}) if options.json else job.id) + "\n")
    return os.EX_OK
