"""Back-off strategies, and a processor that fails so that they are asked."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toril import SandboxedJob


def fail(job: SandboxedJob) -> None:
    raise ValueError(job.name)


def by_error(attempts_made: int, error: BaseException, job: SandboxedJob) -> str:
    return f"{attempts_made}{len(str(error))}{len(job.id)}ms"


async def patient(_attempts_made: int, _error: BaseException, _job: SandboxedJob) -> str:
    await asyncio.sleep(0)
    return "7ms"


def hang(_attempts_made: int, _error: BaseException, _job: SandboxedJob) -> None:
    time.sleep(60)


strategies = {"by-error": by_error, "patient": patient, "hang": hang}
