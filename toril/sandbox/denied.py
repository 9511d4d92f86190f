"""Why the wall refused what a processor did, and what lets it through: from an exception to words.

The kernel says only "permission denied". What is said here is true whenever it is said: it names
what the level and the queue's settings do not allow, and only where that, and not the file's own
mode, stands in the way. Where it is not certain, nothing is said.
"""

# ruff: noqa: PTH110, PTH112, PTH119, PTH120 - no pathlib where children are made

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

from toril.sandbox import landlock
from toril.sandbox.levels import WALLED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

    from toril.sandbox.confine import Plan

_MAX_CHAIN = 8
_MAX_PATH = 200

_REFUSALS = frozenset({errno.EACCES, errno.EPERM, errno.EXDEV})

_PLACES = {
    ("socket.py", "__init__"): "network",
    ("subprocess.py", "_execute_child"): "exec",
    ("popen_fork.py", "_launch"): "exec",
    ("util.py", "spawnv_passfds"): "exec",
    ("pty.py", "fork"): "exec",
    ("synchronize.py", "__init__"): "semaphores",
}
"""(file, function) of the standard library that makes the system call → what it is about."""

_EXEC_CALLS = frozenset(
    {"fork", "forkpty", "execv", "execve", "execvp", "execvpe", "posix_spawn", "posix_spawnp"}
)
_ATTRIBUTE_CALLS = frozenset(
    {"chmod", "fchmod", "lchmod", "chown", "fchown", "lchown", "utime", "setxattr", "removexattr"}
)
_SIGNAL_CALLS = frozenset({"kill", "killpg", "pidfd_send_signal", "pidfd_open", "setpriority"})
"""Names in the code of the function that made the call → what it may have wanted."""


def explained(error: BaseException, plan: Plan) -> str:
    """What the wall did not let the code do that raised this, with the remedy; else nothing."""
    level = plan.wall.level
    if level not in WALLED:
        return ""
    for one in _chain(error):
        if words := _one(one, plan):
            return f'Level "{level.value}" {words}'
    return ""


def _chain(error: BaseException) -> Iterator[OSError]:
    """The error and what it came from, as far as the kernel said it."""
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen and len(seen) < _MAX_CHAIN:
        seen.append(one)
        if isinstance(one, OSError):
            yield one
        reason = getattr(one, "reason", None)  # urllib keeps it there
        if isinstance(reason, OSError):
            yield reason
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _one(error: OSError, plan: Plan) -> str:
    if _is_unresolved(error):
        return "" if plan.wall.allow.network else _NETWORK
    code = _innermost(error)
    if error.errno == errno.ENOENT and _wanted(code, frozenset()) == "semaphores":
        return _SEMAPHORES  # A private root has no /dev/shm at all.
    if error.errno not in _REFUSALS:
        return ""
    names = frozenset(code.co_names) if code else frozenset()
    is_call = error.errno == errno.EPERM
    wanted = _wanted(code, names if is_call else frozenset())
    if wanted is not None:
        return _of_permission(wanted, plan)
    return _of_call(names) if is_call else _of_files(error, plan)


def _wanted(code: CodeType | None, names: frozenset[str]) -> str | None:
    """Which of our permissions the failed call is about, if that can be told."""
    place = (os.path.basename(code.co_filename), code.co_name) if code else ("", "")
    return "exec" if names & _EXEC_CALLS else _PLACES.get(place)


def _of_permission(name: str, plan: Plan) -> str:
    """Why it was refused; nothing when it is allowed, and something else stood in the way."""
    allow = plan.wall.allow
    match name:
        case "network":
            return _OTHER_SOCKETS if allow.network else _NETWORK
        case "exec":
            return "" if allow.exec else _EXEC
        case _:
            return _SEMAPHORES


_NETWORK = "gives processors no network: --allow-network lets this queue's open TCP connections"
_OTHER_SOCKETS = (
    "gives processors TCP and UDP over IPv4 and IPv6 only: no local (unix) sockets, no others"
)
_EXEC = "lets processors start no processes: --allow-exec lets this queue's start them"
_SEMAPHORES = (
    "has no shared semaphores, which multiprocessing needs: use threads, or more children "
    "(--concurrency); --allow-exec with --allow-write /dev/shm lets it work"
)
_ATTRIBUTES = (
    "lets processors change no modes, owners, times or attributes of files: shutil.copyfile "
    "copies contents alone"
)
_SIGNALS = "lets processors reach no other process"


def _of_call(names: frozenset[str]) -> str:
    if names & _ATTRIBUTE_CALLS:
        return _ATTRIBUTES
    return _SIGNALS if names & _SIGNAL_CALLS else ""


def _of_files(error: OSError, plan: Plan) -> str:
    for given in (error.filename, error.filename2):
        if isinstance(given, str | bytes) and (words := _of_file(os.fsdecode(given), plan)):
            return words
    return ""


def _of_file(given: str, plan: Plan) -> str:
    """What is not allowed about a file that its own mode would allow."""
    path = os.path.realpath(given)
    if plan.wall.files is None:
        return ""
    if not os.path.exists(path):
        return _of_creation(os.path.dirname(path), plan)
    rights = _rights_at(path, plan)
    if not rights & (landlock.READ_DIR if os.path.isdir(path) else landlock.READ_FILE):
        return (
            f"does not let this queue's processors read {_said(path)}: --allow-read lets them, "
            "--allow-write lets them change it too"
        ) * os.access(path, os.R_OK)
    is_kept = not rights & landlock.WRITE_FILE and os.access(path, os.W_OK)
    return f"lets {_said(path)} be read, not changed: --allow-write lets it" * is_kept


def _of_creation(folder: str, plan: Plan) -> str:
    if _rights_at(folder, plan) & landlock.MAKE_REG or not os.access(folder, os.W_OK):
        return ""
    return f"lets nothing be created in {_said(folder)}: --allow-write lets it"


def _rights_at(path: str, plan: Plan) -> int:
    """What was granted for a path, or above it."""
    granted = plan.wall.files.paths if plan.wall.files is not None else {}
    work = os.path.realpath(plan.working_directory)
    rights, above = 0, path
    while True:
        rights |= granted.get(above, 0) | (landlock.WRITE if above == work else 0)
        if above == "/":
            return rights
        above = os.path.dirname(above)


def _is_unresolved(error: OSError) -> bool:
    module = sys.modules.get("socket")
    return module is not None and isinstance(error, module.gaierror)


def _innermost(error: BaseException) -> CodeType | None:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code if trace is not None else None


def _said(path: str) -> str:
    return path if len(path) <= _MAX_PATH else "…" + path[-_MAX_PATH:]
