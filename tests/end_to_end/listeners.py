"""Listeners of the end-to-end tests: what they print stands in the worker's log."""

# ruff: noqa: T201 - see above

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toril.listeners import WorkerEvent


def tell(event: WorkerEvent) -> None:
    print(json.dumps({"kind": type(event).__name__, "pid": os.getpid()} | asdict(event)))


def die(_event: WorkerEvent) -> None:
    os.abort()


listeners = dict.fromkeys(
    ("active", "progress", "completed", "failed", "timeout", "stalled", "error"), tell
)
deadly = {"active": die, "completed": die}
misspelt = {"complete": tell}
