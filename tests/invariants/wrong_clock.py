"""`toril run` on a machine whose clock is wrong, TEST_CLOCK_OFF_S seconds off.

Whatever Python asks for the time is answered wrongly; clocks that only count on are right, as they
are when a machine's time is set.
"""

from __future__ import annotations

import os
import time

from toril.cli.main import main

OFF_S = float(os.environ["TEST_CLOCK_OFF_S"])

right, right_ns = time.time, time.time_ns


def wrong() -> float:
    return right() + OFF_S


def wrong_ns() -> int:
    return right_ns() + int(OFF_S * 1_000_000_000)


if __name__ == "__main__":
    time.time, time.time_ns = wrong, wrong_ns
    raise SystemExit(main())
