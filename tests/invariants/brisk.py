"""`toril run` that looks for work ten times a second, so that what a test mends is seen at once."""

from __future__ import annotations

import dataclasses

from toril.cli import run
from toril.cli.main import main

POLL_MS = 100

real = run.settings_of


def settings_of(options):
    settings = real(options)
    queues = tuple(dataclasses.replace(queue, poll_ms=POLL_MS) for queue in settings.queues)
    return dataclasses.replace(settings, queues=queues)


if __name__ == "__main__":
    run.settings_of = settings_of
    raise SystemExit(main())
