"""What the zygote does once before it forks: import the processor, and look at what that left open.

A socket, a writable file or a thread that an import opens would be shared by every child, or be
missing in them, so it is refused here, named, before any job is taken.
"""

# ruff: noqa: PTH115, PTH116, PTH120, PTH208 - no pathlib where children are made

from __future__ import annotations

import builtins
import fcntl
import os
import stat
import sys
import threading
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from toril.errors import ProcessorImportError, SandboxUnavailable
from toril.sandbox import proc, processor
from toril.sandbox.text import clean, clean_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toril.sandbox.processor import Processor

IMPORT_IN_CHILD = (
    'Open it inside the function that runs the job, or set import = "child" for this queue, so '
    "that every child imports the processor itself (that setting comes with a later version)"
)
_MAX_TRACEBACK_BYTES = 32 * 1024


def load(path: str) -> tuple[Processor, list[int]]:
    """Import a processor and check what its import left open.

    Returns:
        The processor, and the read-only files that its modules hold open.

    Raises:
        ProcessorImportError: the import failed, or what it found is not a processor.
        SandboxUnavailable: it left something open that children must not share.
    """
    before = open_fds()
    with watching_threads() as culprits:
        found = _resolve(path)
    refuse_threads(culprits)
    return found, [fd for fd in sorted(open_fds() - before) if _is_shareable(fd)]


def open_fds() -> set[int]:
    """The open fds of this process."""
    return {int(name) for name in os.listdir("/proc/self/fd") if _is_open(int(name))}


@contextmanager
def watching_threads() -> Iterator[list[str]]:
    """Collect the modules during whose import the number of threads grew, innermost first."""
    culprits: list[str] = []
    seen = proc.thread_count()
    original = builtins.__import__

    def watched(name: str, *args: Any, **kwargs: Any) -> Any:
        nonlocal seen
        is_new = name not in sys.modules
        module = original(name, *args, **kwargs)
        if is_new and (now := proc.thread_count()) > seen:
            seen = now
            culprits.append(name)
        return module

    builtins.__import__ = watched
    try:
        yield culprits
    finally:
        builtins.__import__ = original


def refuse_threads(culprits: list[str]) -> None:
    """Refuse to go on with more than one thread: a fork copies their locks, but not them.

    Raises:
        SandboxUnavailable: it names the module that started one, if that is known.
    """
    if (count := proc.thread_count()) == 1:
        return
    names = culprits or [
        f"{module} (thread {thread.name!r})"
        for thread in threading.enumerate()
        if thread is not threading.main_thread()
        for module in [_home_of(thread)]
    ]
    who = f"importing {', '.join(names)}" if names else "an import"
    raise SandboxUnavailable(
        f"the zygote has {count} threads after preloading, and can fork safely with one only: "
        f"{who} started the others",
        IMPORT_IN_CHILD.replace("Open it", "Start it"),
    )


def _resolve(path: str) -> Processor:
    try:
        return processor.resolve(path)
    except ProcessorImportError:
        raise
    except BaseException as error:  # noqa: BLE001 - a wall
        # Whatever a user's module raises at import, SystemExit included, is what we report.
        raise ProcessorImportError(
            f"importing processor {path!r} failed: "
            f"{type(error).__name__}: {clean(_said(error), 2048)}",
            _import_remedy(error),
            clean_end(_trace(error), _MAX_TRACEBACK_BYTES),
        ) from None


def _import_remedy(error: BaseException) -> str:
    variable = processor.missing_variable(error)
    if variable is not None:
        return processor.variable_remedy(variable)
    if isinstance(error, ModuleNotFoundError):
        return (
            "The import path is the worker's own, its working directory included: start it where "
            "the module can be found, or install the package in its environment"
        )
    return "Mend the module, then start again"


def _trace(error: BaseException) -> str:
    """The traceback from the first frame that is neither ours nor the import system's."""
    trace = error.__traceback__
    while trace is not None and _is_machinery(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def _is_machinery(filename: str) -> bool:
    ours = os.path.dirname(__file__)
    return filename.startswith((ours, "<frozen importlib")) or "importlib" in filename


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - a wall: str() of a user's exception runs its code
        return f"<str() failed: {type(broken).__name__}>"


def _home_of(thread: threading.Thread) -> str:
    target = getattr(thread, "_target", None)
    return getattr(target, "__module__", None) or type(thread).__module__


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _is_shareable(fd: int) -> bool:
    """Whether children may have it: read-only files only.

    Raises:
        SandboxUnavailable: it is anything else.
    """
    status = os.fstat(fd)
    is_writable = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    kind = _kind(status.st_mode, is_writable=is_writable)
    if kind is None or os.path.samestat(status, os.stat(os.devnull)):
        return True
    target = os.readlink(f"/proc/self/fd/{fd}")
    raise SandboxUnavailable(
        f"importing the processor left {kind} open (fd {fd}: {target}), "
        "which all children would share",
        IMPORT_IN_CHILD,
    )


def _kind(mode: int, *, is_writable: bool) -> str | None:
    if stat.S_ISSOCK(mode):
        return "a socket"
    if stat.S_ISFIFO(mode):
        return "a pipe"
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISCHR(mode)):
        return "a kernel object"
    return "a file for writing" if is_writable else None
