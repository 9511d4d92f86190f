"""Listeners of the tests: they print what they hear, and do harm where the job's name says so."""

# ruff: noqa: T201 - what they print is what the tests read

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from toril import SoftTimeout

if TYPE_CHECKING:
    from toril.listeners import Active, Completed, Failed, WorkerEvent


def _heard(event: WorkerEvent) -> None:
    print(f"{type(event).__name__} {event.job_id} {os.getpid()}", flush=True)


def active(event: Active) -> None:
    _heard(event)
    match event.name:
        case "raise":
            raise ValueError("not this one")
        case "hang":
            time.sleep(60)
        case "hang-on":
            try:
                time.sleep(60)
            except SoftTimeout:
                print("let go", flush=True)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "leave":
            raise SystemExit(3)


def completed(event: Completed) -> None:
    print(f"{event.returnvalue!r} {event.is_left_out} {event.run_ms}", flush=True)


async def awaited(event: WorkerEvent) -> None:
    _heard(event)


def failed(event: Failed) -> None:
    print(event, flush=True)


listeners = {"active": active, "completed": completed}
every = dict.fromkeys(
    ("active", "progress", "completed", "failed", "timeout", "stalled", "error"), print
)
mixed = {"active": awaited, "failed": failed}
