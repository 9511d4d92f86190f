"""Processors of the invariants' tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.end_to_end.processors import note

if TYPE_CHECKING:
    from toril import SandboxedJob

IMPORTED_IN = os.getpid()
LONG_S = 60.0


def look_around(_job: SandboxedJob) -> dict[str, Any]:
    """Everything that a job can find out about where it runs, and about its ancestors."""
    zygote = os.getppid()
    supervisor = int(Path(f"/proc/{zygote}/stat").read_text().rpartition(")")[2].split()[1])
    family = {"child": os.getpid(), "zygote": zygote, "supervisor": supervisor}
    return {
        "imported_in": IMPORTED_IN,
        "family": family,
        "said": {
            f"{name} {what}": _read(pid, what) for name, pid in family.items() for what in _WHAT
        },
        "variables": dict(os.environ),
        "modules": sorted(sys.modules),
        "fds": _open_fds(),
    }


def calamity(job: SandboxedJob) -> int:
    """One end of each kind, a start each: raises, crashes, is interrupted, stalls, returns."""
    note(job, "started")
    if job.attempts_started == 1:
        raise RuntimeError("the first end")
    if job.attempts_started == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    if job.attempts_started in {3, 4}:
        time.sleep(LONG_S)
    return job.attempts_started


def leave_daemon(job: SandboxedJob) -> None:
    """Start a process in a session of its own, tell who is who, and go on."""
    daemon = subprocess.Popen(["sleep", str(LONG_S)], start_new_session=True)
    job.update_progress({"daemon": daemon.pid, "child": os.getpid(), "zygote": os.getppid()})
    time.sleep(job.data["seconds"])


def forge(_job: SandboxedJob) -> None:
    """Write what is no frame to the supervisor."""
    os.write(3, b"\xff" * 64)
    time.sleep(LONG_S)


def _read(pid: int, what: str) -> str:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes().decode(errors="replace")
    except OSError as error:
        return str(error)


def _open_fds() -> dict[str, str]:
    """Number and target; the listing's own is gone when it is looked at."""
    found = {}
    for link in list(Path("/proc/self/fd").iterdir()):
        with suppress(FileNotFoundError):
            found[link.name] = str(link.readlink())
    return found


_WHAT = ("cmdline", "environ", "comm")

processors = {
    "look-around": look_around,
    "calamity": calamity,
    "leave-daemon": leave_daemon,
    "forge": forge,
}
