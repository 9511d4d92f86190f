"""One supervisor of the demo: `python -m toril.demo.supervise`, its server in TORIL_REDIS_URL."""

from __future__ import annotations

import os

from toril.log import Log
from toril.runtime.limiter import RateLimit
from toril.sandbox.limits import Limits
from toril.supervisor.settings import QueueSettings, Settings
from toril.supervisor.supervisor import supervise

WORK_QUEUE = "demo-work"
LIMITED_QUEUE = "demo-limited"
PROCESSOR = "toril.demo.processors:processors"
CHILDREN = 3
LOCK_MS = 2_000
STALLED_INTERVAL_MS = 500
MEMORY_BYTES = 160 * 1024 * 1024
LIMIT = RateLimit(tokens=15, per_ms=1_000, burst=5)


def settings() -> Settings:
    """Short locks and frequent sweeps, so that whoever forgets a lock is found out quickly."""
    work = QueueSettings(
        name=WORK_QUEUE,
        processor=PROCESSOR,
        concurrency=CHILDREN,
        lock_ms=LOCK_MS,
        stalled_interval_ms=STALLED_INTERVAL_MS,
        limits=Limits(timeout_s=60, memory_bytes=MEMORY_BYTES),
    )
    limited = QueueSettings(
        name=LIMITED_QUEUE, processor=PROCESSOR, concurrency=1, lock_ms=LOCK_MS, rate_limit=LIMIT
    )
    return Settings(redis=os.environ["TORIL_REDIS_URL"], queues=(work, limited))


if __name__ == "__main__":
    with Log() as log:
        code, reason = supervise(settings(), log)
        if reason:
            log.say(reason)
    raise SystemExit(code)
