"""Starts the process of a zygote, and says what it is told first."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toril.errors import SandboxUnavailable
from toril.sandbox import cgroup, environment, work_roots
from toril.sandbox.descriptors import pipe
from toril.sandbox.levels import WALLED

if TYPE_CHECKING:
    from toril.sandbox.launcher import ZygoteSpec


@dataclass(frozen=True, slots=True)
class Launched:
    """A zygote's process.

    Attributes:
        process: it.
        pidfd: a descriptor for it.
        channel: our end of the control socket.
        streams: read ends of its stdout and stderr.
        work_root: directory of its children's work directories; empty when they have none.
        work_root_fd: keeps others from tidying it up; None when there is none.
    """

    process: subprocess.Popen[bytes]
    pidfd: int
    channel: socket.socket
    streams: tuple[int, int]
    work_root: str
    work_root_fd: int | None

    def is_work_root_gone(self) -> bool:
        """Remove it if it is empty."""
        if self.work_root_fd is None:
            return True
        os.close(self.work_root_fd)
        try:
            Path(self.work_root).rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def remove_work_root(self) -> None:
        """Remove what the zygote left of it; it and its children are gone."""
        work_roots.remove_whole(self.work_root)


def launch(spec: ZygoteSpec) -> Launched:
    """Start the process; it waits for its orders.

    Raises:
        SandboxUnavailable: this is not the main thread, or there are no processes or fds left.
        InvalidOption: the environment it should get may hold a Redis URL.
    """
    if threading.current_thread() is not threading.main_thread():
        raise SandboxUnavailable(
            "a zygote can be started from the main thread only",
            "Run the event loop in the main thread: the kernel ends a zygote with the thread "
            "that started it",
        )
    env = environment.build(os.environ, spec.allow.env, spec.threads)
    with ExitStack() as ours, ExitStack() as theirs:
        try:
            channel, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.enter_context(channel)
            theirs.enter_context(end)
            (out_read, out_write), (err_read, err_write) = (pipe(ours, theirs) for _ in range(2))
            work_root, work_root_fd = _work_root(spec, ours)
            process = subprocess.Popen(
                [sys.executable, "-I", "-m", "toril.sandbox.zygote", str(end.fileno())],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out_write,
                stderr=err_write,
                pass_fds=(end.fileno(),),
            )
            ours.callback(_end, process)
            pidfd = os.pidfd_open(process.pid)
        except OSError as error:
            raise SandboxUnavailable(f"the zygote could not be started: {error}") from error
        ours.pop_all()
    channel.setblocking(False)
    return Launched(process, pidfd, channel, (out_read, err_read), work_root, work_root_fd)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _work_root(spec: ZygoteSpec, ours: ExitStack) -> tuple[str, int | None]:
    if spec.level not in WALLED:
        return "", None
    path, lock = work_roots.make()
    ours.callback(work_roots.remove_whole, path)
    ours.callback(os.close, lock)
    return path, lock


def orders(spec: ZygoteSpec, work_root: str) -> dict[str, Any]:
    """The first message to a zygote."""
    env = environment.build(os.environ, spec.allow.env, spec.threads)
    return {
        "supervisor_pid": os.getpid(),
        "queue": spec.queue,
        "code": asdict(spec.code),
        "import_in": spec.import_in,
        "has_hidden": environment.has_hidden(os.environ, env),
        "level": spec.level.value,
        "allow": spec.allow.as_message(),
        "waive": sorted(spec.waive),
        "work_root": work_root,
        "limits": asdict(spec.limits),
        "python_path": [str(Path(entry).absolute()) for entry in spec.python_path],
        "working_directory": spec.working_directory,
        "nice": spec.nice,
        "child_uid": spec.child_uid,
        "cgroup": home.as_message() if (home := cgroup.settled()) else None,
        "preload": list(spec.preload),
        "hidden": list(spec.hidden),
    }
