"""Processors that mean well."""

# ruff: noqa: ARG001, PTH123, T201 - processors take a job, and print

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from toril.errors import Interrupted, SoftTimeout, Unrecoverable

if TYPE_CHECKING:
    from toril import SandboxedJob


def echo(job: SandboxedJob):
    return job.data


def about(job: SandboxedJob):
    return {
        "id": job.id,
        "name": job.name,
        "queue": job.queue,
        "opts": job.opts,
        "attempts_made": job.attempts_made,
        "attempts_started": job.attempts_started,
        "fencing_token": job.fencing_token,
        "timestamp": job.timestamp,
        "priority": job.priority,
    }


def talk(job: SandboxedJob):
    job.log("one log entry\nof two lines")
    job.update_data({"changed": True})
    print("to stdout")
    print("to stderr", file=sys.stderr)
    sys.stdout.write("no end of line")
    return job.data


def count_up(job: SandboxedJob):
    for number in range(job.data):
        job.update_progress(number)


def refuse(job: SandboxedJob):
    raise ValueError("no good" if job.data is None else job.data)


def refuse_without_words(job: SandboxedJob):
    raise ZeroDivisionError


def give_up(job: SandboxedJob):
    raise Unrecoverable("never again")


def need_variable(job: SandboxedJob):
    return os.environ["IMAGE_BUCKET"]


def ignore_data(job: SandboxedJob):
    return "did not look"


def loop(job: SandboxedJob):
    job.log("begun")
    while True:
        pass


def wait_for_event(job: SandboxedJob):
    job.log("begun")
    threading.Event().wait()


def tidy_up_when_interrupted(job: SandboxedJob):
    try:
        loop(job)
    except (Interrupted, SoftTimeout) as signal:
        job.log(f"stopping: {type(signal).__name__}")
        return "tidied up"


def chat_until_interrupted(job: SandboxedJob):
    job.log("begun")
    text = "x" * 60_000
    while True:
        job.log(text)


def log_twice(job: SandboxedJob):
    job.log(job.data)
    job.log(job.data)


def print_lines(job: SandboxedJob):
    for number in range(job.data):
        print(number)
    return job.data


def use_memory(job: SandboxedJob):
    return len(bytearray(job.data))


def title(job: SandboxedJob):
    with open("/proc/self/cmdline") as cmdline:
        return cmdline.read().rstrip("\0")


def run_coroutine(job: SandboxedJob):
    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    return asyncio.run(answer())


def nap(job: SandboxedJob):
    time.sleep(job.data)


processors = {
    name: value
    for name, value in globals().items()
    if callable(value) and getattr(value, "__module__", "") == __name__
}
