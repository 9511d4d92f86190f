"""A processor whose module configures `logging` itself."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from tests.process.processors.logged import levels

if TYPE_CHECKING:
    from toril import SandboxedJob


def setup() -> None:
    """As an application does it."""
    form = "%(levelname)s|%(message)s"
    logging.basicConfig(stream=sys.stdout, format=form, level=logging.DEBUG)
    logging.getLogger("setup").info("done")


def process(job: SandboxedJob) -> None:
    """Log."""
    levels(job)
