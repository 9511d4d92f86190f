"""`toril run` whose heartbeat and patience are set by variables of the tests.

OBSERVED_POLL_MS: longest wait of the worker for a wake-up, and with it the time after which a
silent Redis is complained of. OBSERVED_BEAT_S: between beats; their records live ten times as long.
"""

from __future__ import annotations

import dataclasses
import os

from toril.cli import run
from toril.cli.main import main
from toril.supervisor.service import heartbeat

real = run.settings_of


def settings_of(options):
    settings = real(options)
    poll_ms = int(os.environ.get("OBSERVED_POLL_MS", "5000"))
    queues = tuple(dataclasses.replace(q, poll_ms=poll_ms) for q in settings.queues)
    return dataclasses.replace(settings, queues=queues)


if __name__ == "__main__":
    run.settings_of = settings_of
    if beat_s := float(os.environ.get("OBSERVED_BEAT_S", "0")):
        heartbeat.EVERY_S, heartbeat.LIVES_MS = beat_s, round(beat_s * 10_000)
    raise SystemExit(main())
