"""Processors of which the log tells."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toril import SandboxedJob


def begin(job: SandboxedJob) -> list[str]:
    """Say something in every way, and add jobs."""
    logging.getLogger("myapp").warning("logged, token=hunter2")
    print("printed, password: hunter2")  # noqa: T201 - that is what is looked at
    job.log("noted")
    return [job.add("end"), job.add("end", correlation_id="its own"), job.correlation_id]


def end(job: SandboxedJob) -> str:
    """Tell what it inherited."""
    return job.correlation_id


def shout(job: SandboxedJob) -> None:
    """Log a long line."""
    del job
    logging.getLogger("myapp").info("x" * 60_000)


def fail(job: SandboxedJob) -> None:
    """Fail with a secret."""
    del job
    raise RuntimeError("cannot reach postgres://app:hunter2@db/app")


processors = {"begin": begin, "end": end, "fail": fail, "shout": shout}
