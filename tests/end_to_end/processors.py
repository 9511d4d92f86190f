"""Processors of the end-to-end tests; they keep a ledger outside Redis of what ran."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from toril import Delayed, RateLimited, SoftTimeout, Unrecoverable

if TYPE_CHECKING:
    from toril import SandboxedJob


def note(job: SandboxedJob, word: str) -> None:
    """Append one line to the ledger in one write: word, id, attempt started, pid."""
    path = job.data.get("ledger") if isinstance(job.data, dict) else None
    if path:
        line = f"{word} {job.id} {job.attempts_started} {os.getpid()}\n"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


def echo(job: SandboxedJob) -> Any:
    note(job, "started")
    note(job, "finished")
    return job.data


def work(job: SandboxedJob) -> int:
    """Busy for `seconds`."""
    note(job, "started")
    until = time.monotonic() + job.data["seconds"]
    while time.monotonic() < until:
        sum(range(5_000))
    note(job, "finished")
    return job.attempts_started


def nap(job: SandboxedJob) -> int:
    note(job, "started")
    job.update_progress({"pid": os.getpid()})
    time.sleep(job.data["seconds"])
    note(job, "finished")
    return os.getpid()


def nap_once(job: SandboxedJob) -> int:
    """Sleeps in its first start only."""
    note(job, "started")
    job.update_progress({"pid": os.getpid()})
    if job.attempts_started == 1:
        time.sleep(job.data["seconds"])
    note(job, "finished")
    return os.getpid()


def burn(job: SandboxedJob) -> None:
    """Compute until so much CPU time is used, however busy the machine is."""
    until = time.process_time() + job.data["cpu_seconds"]
    while time.process_time() < until:
        pass


def block(job: SandboxedJob) -> float:
    """Hold the GIL in one call of C for `seconds` of wall time, computing nothing."""
    note(job, "started")
    began = time.monotonic()
    ctypes.PyDLL(None).usleep(int(job.data["seconds"] * 1_000_000))
    note(job, "finished")
    return time.monotonic() - began


def step(job: SandboxedJob) -> Any:
    """Fifty steps in its first start, then `how` it ends; later starts return what they find."""
    if job.attempts_started > 1:
        return job.checkpointed
    for number in range(1, 51):
        job.checkpoint({"step": number, "text": "é"})
    how = job.data["how"]
    if how == "raise":
        raise RuntimeError("no")
    if how == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    job.update_progress(50)
    time.sleep(job.data.get("seconds", 0))
    return job.checkpointed


_leaked: list[bytes] = []


def leak(job: SandboxedJob) -> int:
    """Keep 200 KiB for good."""
    _leaked.append(job.id.encode().ljust(1024) * 200)
    return len(_leaked)


def fail(job: SandboxedJob) -> None:
    note(job, "started")
    raise RuntimeError(job.data.get("message", "no"))


def give_up(job: SandboxedJob) -> None:
    note(job, "started")
    raise Unrecoverable("never again")


def crash(job: SandboxedJob) -> None:
    note(job, "started")
    os.kill(os.getpid(), 11)


def exit_zero(job: SandboxedJob) -> None:
    note(job, "started")
    os._exit(0)


def hoard(job: SandboxedJob) -> int:
    note(job, "started")
    return len(bytearray(job.data["bytes"]))


def huge(job: SandboxedJob) -> str:
    return "x" * job.data["bytes"]


def chatter(job: SandboxedJob) -> int:
    job.log("a line of the log")
    sys.stdout.write("a line on stdout\n")
    job.update_progress(50)
    job.update_data({**job.data, "seen": True})
    return 1


def chat(job: SandboxedJob) -> int:
    """Log a line every 50 ms for `seconds`."""
    until = time.monotonic() + job.data["seconds"]
    while time.monotonic() < until:
        job.log("still here")
        time.sleep(0.05)
    return 1


def kill_zygote_once(job: SandboxedJob) -> int:
    """In its first start it kills the process that forked it."""
    if job.attempts_started == 1:
        os.kill(os.getppid(), 9)
        time.sleep(60)
    return int(job.attempts_started)


def ignore_everything(job: SandboxedJob) -> None:
    """Catches whatever is raised in it, again and again."""
    until = time.monotonic() + job.data["seconds"]
    while time.monotonic() < until:
        try:
            time.sleep(0.1)
        except BaseException:  # noqa: BLE001 - that is what it is for
            continue


def spin_in_c(job: SandboxedJob) -> None:
    """Hold the GIL in one call of C that computes for minutes."""
    del job
    sum(range(10**11))


def later(job: SandboxedJob) -> int:
    if job.attempts_started == 1:
        raise Delayed("200ms")
    return int(job.attempts_started)


def hold(job: SandboxedJob) -> int:
    if job.attempts_started == 1:
        raise RateLimited("500ms")
    return int(job.attempts_started)


def parent(job: SandboxedJob) -> str:
    """Adds a job to its own queue."""
    return str(job.add("echo", {"from": job.id}, delay="100ms"))


def send_on(job: SandboxedJob) -> str:
    """Adds a job to another queue."""
    return str(job.add("echo", {"from": job.id}, queue=job.data["queue"]))


def soft(job: SandboxedJob) -> str:
    """Tidies up when its soft time is over, and still has a result."""
    del job
    try:
        time.sleep(60)
    except SoftTimeout:
        return "tidied up"
    return "never"


def environ(job: SandboxedJob) -> list[str]:
    """The names that it finds in its environment."""
    del job
    return list(os.environ)


processors = {
    "burn": burn,
    "step": step,
    "leak": leak,
    "environ": environ,
    "later": later,
    "hold": hold,
    "parent": parent,
    "soft": soft,
    "send-on": send_on,
    "ignore-everything": ignore_everything,
    "spin-in-c": spin_in_c,
    "chat": chat,
    "kill-zygote-once": kill_zygote_once,
    "echo": echo,
    "work": work,
    "nap": nap,
    "nap-once": nap_once,
    "block": block,
    "fail": fail,
    "give-up": give_up,
    "crash": crash,
    "exit-zero": exit_zero,
    "hoard": hoard,
    "huge": huge,
    "chatter": chatter,
}
