"""Processors that mean well."""

# ruff: noqa: ARG001, BLE001, PTH123, T201 - processors take a job, and print

from __future__ import annotations

import asyncio
import mmap
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from toril.errors import (
    Delayed,
    Interrupted,
    RateLimited,
    SoftTimeout,
    Unrecoverable,
    WaitingChildren,
)

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


def say_and_nap(job: SandboxedJob):
    job.log("begun")
    time.sleep(job.data)


def log_lines(job: SandboxedJob):
    for number in range(job.data):
        job.log(number)


def log_and_print(job: SandboxedJob):
    log_lines(job)
    print_lines(job)


def finish_when_time_is_nearly_up(job: SandboxedJob):
    try:
        loop(job)
    except SoftTimeout:
        return "finished in time"


def raise_after_soft_timeout(job: SandboxedJob):
    try:
        loop(job)
    except SoftTimeout:
        raise ValueError("half done") from None


def ask_again_and_again(job: SandboxedJob):
    """Swallows what is raised, and learns of it by asking."""
    heard: list[str] = []
    while len(heard) < job.data:
        try:
            try:
                if not heard:
                    job.log("begun")
                    time.sleep(30)
            except BaseException:
                heard.append("by signal")
            job.check()
        except BaseException as signal:
            heard.append(type(signal).__name__)
    job.log(" ".join(heard))
    return heard


def ask_in_a_thread(job: SandboxedJob):
    """The main thread waits for the signal, another one asks."""
    heard = []

    def ask():
        while not heard:
            try:
                job.check()
                time.sleep(0.01)
            except BaseException as signal:
                heard.append(type(signal).__name__)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        job.log("begun")
        time.sleep(30)
    except BaseException as signal:
        while not heard:
            time.sleep(0.01)
        job.log(f"thread {heard[0]}, main {type(signal).__name__}")
        raise


def postpone(job: SandboxedJob):
    raise Delayed(job.data)


def postpone_to(job: SandboxedJob):
    raise Delayed(datetime.now(UTC) + timedelta(seconds=job.data))


def postpone_naively(job: SandboxedJob):
    raise Delayed(datetime.now())  # noqa: DTZ005 - the mistake


def slow_down(job: SandboxedJob):
    raise RateLimited(job.data)


def follow_up(job: SandboxedJob):
    return job.add("next", {"of": job.id}, delay=timedelta(seconds=1.5), priority=3)


def follow_up_with(job: SandboxedJob):
    return job.add(**job.data)


def follow_up_strangely(job: SandboxedJob):
    return job.add("next", {1, 2})


def follow_up_from_threads(job: SandboxedJob):
    with ThreadPoolExecutor(4) as pool:
        return sorted(pool.map(lambda number: job.add(f"next {number}"), range(20)))


def follow_up_from_many_threads(job: SandboxedJob):
    with ThreadPoolExecutor(40) as pool:
        return len(list(pool.map(lambda number: job.add(f"next {number}"), range(60))))


def follow_up_and_wait(job: SandboxedJob):
    job.log("begun")
    try:
        return job.add("next")
    except BaseException as signal:
        job.log(f"stopped by {type(signal).__name__}")
        raise


def follow_up_in_cleanup(job: SandboxedJob):
    try:
        loop(job)
    except Interrupted:
        return job.add("the rest")


def leave_caller(job: SandboxedJob):
    """Threads wait for replies that do not come, and read what is there meanwhile."""
    for _ in range(15):
        threading.Thread(target=job.add, args=("next",), daemon=True).start()
    time.sleep(0.02)
    return "left"


def leave_talker(job: SandboxedJob):
    subprocess.Popen(["/bin/sh", "-c", "sleep 0.1; echo late"])


def read_file(job: SandboxedJob):
    """Map a file and look at every page."""
    path, seconds = job.data
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        seen = sum(view[at] for at in range(0, len(view), mmap.PAGESIZE))
        time.sleep(seconds)
    return seen


async def answer_later(job: SandboxedJob):
    await asyncio.sleep(0.01)
    return job.data


async def wait_in_coroutine(job: SandboxedJob):
    job.log("begun")
    await asyncio.sleep(60)


async def clean_up_in_coroutine(job: SandboxedJob):
    job.log("begun")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError as cancelled:
        await asyncio.sleep(0.01)
        job.log(f"cancelled: {cancelled}")
        return "tidied up"


async def name_reason_in_coroutine(job: SandboxedJob):
    job.log("begun")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        job.check()


async def refuse_in_coroutine(job: SandboxedJob):
    await asyncio.sleep(0)
    raise ValueError("no good, later")


async def spin_in_coroutine(job: SandboxedJob):
    job.log("begun")
    while True:
        pass


async def log_from_coroutine(job: SandboxedJob):
    job.log("begun")
    text = "x" * 60_000
    while True:
        job.log(text)
        await asyncio.sleep(0)


def report_until_interrupted(job: SandboxedJob):
    """Writes all the time, says how often it was interrupted, and goes on."""
    text, caught, told = "x" * 5_000, 0, -1
    while caught < job.data:
        try:
            if told < caught:
                told = caught
                job.log(f"caught {caught}")
            while True:
                job.update_progress(caught)
                job.log(text)
        except Interrupted:
            caught += 1
    return caught


def grow(job: SandboxedJob):
    kept.append(bytearray(job.data))


kept: list[bytearray] = []


def wait_for_children(job: SandboxedJob):
    raise WaitingChildren


def children(job: SandboxedJob):
    """What the supervisor told, by its size."""
    try:
        told = getattr(job, job.data)()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return len(told)


def follow(job: SandboxedJob):
    from toril import Deduplication  # noqa: PLC0415 - other tests look at what is loaded

    wish = Deduplication("d", ttl="1s", extend=True)
    return job.add("next", 1, deduplication=wish)


processors = {
    name: value
    for name, value in globals().items()
    if callable(value) and getattr(value, "__module__", "") == __name__
}
