"""Processors for toril's children that mirror `node/workers.js` name by name."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from toril import Delayed, RateLimited, Unrecoverable, WaitingChildren

if TYPE_CHECKING:
    from toril import SandboxedJob


def echo(job: SandboxedJob) -> Any:
    return job.data


def nothing(_job: SandboxedJob) -> None:
    """Return nothing, which Redis holds as `null`."""


def fail(job: SandboxedJob) -> None:
    raise RuntimeError(job.data.get("message", "boom"))


def fail_until(job: SandboxedJob) -> int:
    attempt = job.attempts_made + 1
    if attempt < job.data["succeed_at"]:
        raise RuntimeError(f"attempt {attempt}")
    return attempt


def unrecoverable(_job: SandboxedJob) -> None:
    raise Unrecoverable("no use")


def log(job: SandboxedJob) -> None:
    for row in range(1, 6):
        job.log(f"row {row}")


def progress(job: SandboxedJob) -> str:
    job.update_progress(job.data["progress"])
    return "reported"


def update_data(job: SandboxedJob) -> Any:
    if job.attempts_made == 0:
        job.update_data({**job.data, "step": 2})
        raise RuntimeError("first attempt")
    return job.data


def children_values(job: SandboxedJob) -> Any:
    return job.children_values()


def ignored_failures(job: SandboxedJob) -> Any:
    return job.ignored_children_failures()


def wait_for_children(job: SandboxedJob) -> Any:
    if values := job.children_values():
        return values
    while not job.unprocessed_children():
        time.sleep(0.01)
    raise WaitingChildren


def hold_once(job: SandboxedJob) -> str:
    if job.fencing_token == 1:
        raise RateLimited(f"{job.data['ms']}ms")
    return "let through"


def ask_for_time(job: SandboxedJob) -> None:
    raise Delayed(f"{job.data['ms']}ms")


def slow(job: SandboxedJob) -> str:
    time.sleep(job.data["ms"] / 1000)
    return "slept"


def telemetry(job: SandboxedJob) -> Any:
    carried = job.telemetry
    return carried and {"metadata": carried.metadata, "omitContext": carried.omit_context}


def add_traced(job: SandboxedJob) -> list[str]:
    return [job.add("telemetry", None, **options) for options in job.data]


def odd(job: SandboxedJob) -> Any:
    """Report and return whatever the expression of the job's data makes."""
    value = eval(job.data["value"])
    with contextlib.suppress(Exception):
        job.update_progress(value)
    return value


processors = {
    "echo": echo,
    "nothing": nothing,
    "fail": fail,
    "fail-until": fail_until,
    "unrecoverable": unrecoverable,
    "log": log,
    "progress": progress,
    "update-data": update_data,
    "children-values": children_values,
    "ignored-failures": ignored_failures,
    "wait-for-children": wait_for_children,
    "hold-once": hold_once,
    "ask-for-time": ask_for_time,
    "slow": slow,
    "telemetry": telemetry,
    "add-traced": add_traced,
    "odd": odd,
}
