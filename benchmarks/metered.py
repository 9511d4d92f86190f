"""The `toril` command with a finer meter of its loop: `python -m benchmarks.metered FILE run …`.

The meter looks a thousand times a second, and counts a look that it could not take as the look at
the end of the block: how late would have been whoever came at any time. Written at the end: one
lateness in milliseconds a line.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from toril.cli.main import main
from toril.supervisor.service.lag import Lag

TICK_S = 0.001


class Meter(Lag):
    """Looks at fixed times, whatever came between."""

    async def run(self) -> None:
        """Look."""
        late_ms = list[float]()
        due_s = time.monotonic()  # The loop's own clock stands still while it is at work.
        try:
            while True:
                due_s += TICK_S
                await asyncio.sleep(due_s - time.monotonic())
                while (late_s := time.monotonic() - due_s) > TICK_S:
                    late_ms.append(late_s * 1000)
                    due_s += TICK_S
                late_ms.append(max(0.0, late_s) * 1000)
        finally:
            _keep(late_ms)


def _keep(late_ms: list[float]) -> None:
    Path(FILE).write_text("\n".join(map(str, late_ms)))


if __name__ == "__main__":
    FILE = sys.argv[1]
    Lag.run = Meter.run  # type: ignore[method-assign]
    sys.exit(main(sys.argv[2:]))
