"""`toril run` that never renews a lock: what the proof of the renewal is held against."""

from __future__ import annotations

import dataclasses
import math

from toril.cli import run
from toril.cli.main import main

real = run.settings_of


def settings_of(options):
    settings = real(options)
    queues = tuple(dataclasses.replace(q, renew_every_s=math.inf) for q in settings.queues)
    return dataclasses.replace(settings, queues=queues)


if __name__ == "__main__":
    run.settings_of = settings_of
    raise SystemExit(main())
