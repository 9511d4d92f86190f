"""Processors that use the standard library's `logging`, as libraries do."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toril import SandboxedJob

logger = logging.getLogger("myapp.images")


def levels(job: SandboxedJob) -> None:
    """One record of each level, with arguments."""
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        logger.log(number, "job %s at %d", job.id, number)


def fail(job: SandboxedJob) -> None:
    """A record with a traceback."""
    del job
    try:
        int("no number")
    except ValueError:
        logger.exception("cannot\nopen")


def from_threads(job: SandboxedJob) -> None:
    """Many records at a time."""
    threads = [
        threading.Thread(target=lambda: [logger.info("%d", n) for n in range(job.data)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def odd(job: SandboxedJob) -> str:
    """Records that cannot be sent as they are."""
    del job
    logging.getLogger("x" * 400).warning("y" * 100_000)
    logging.getLogger("\ud800").warning("a \ud800 b")
    logger.warning("%d", "no number")
    return "goes on"


processors = {"levels": levels, "fail": fail, "from-threads": from_threads, "odd": odd}
