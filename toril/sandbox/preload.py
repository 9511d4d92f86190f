"""What the zygote does once before it forks: import the processor, and look at what that left open.

A socket, a writable file or a thread that an import opens would be shared by every child, or be
missing in them, so it is refused here, named, before any job is taken.
"""

# ruff: noqa: PTH115, PTH116, PTH208 - no pathlib where children are made

from __future__ import annotations

import builtins
import fcntl
import importlib
import os
import stat
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from toril.errors import ProcessorImportError, SandboxUnavailable
from toril.sandbox import delivery, ends, proc, processor, strategies
from toril.sandbox.text import clean, clean_end

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from toril.sandbox.named import UserCode
    from toril.sandbox.processor import Processor
    from toril.sandbox.wire import Wire

_Found = TypeVar("_Found")

IMPORT_IN_CHILD = (
    'Open it inside the function that runs the job, or set import = "child" for this queue, so '
    "that every child imports the processor itself"
)
_CLEAN_ENVIRONMENT = (
    "; if it misses a variable: children get a clean environment, --env NAME lets one through"
)
_MAX_TRACEBACK_BYTES = 32 * 1024


def load(code: UserCode, *, has_hidden: bool) -> tuple[Processor, list[int]]:
    """Import a processor, or listeners, and check what the import left open.

    Args:
        code: what to import.
        has_hidden: variables of the supervisor's environment were kept from it.

    Returns:
        The processor, and the read-only files that its modules hold open.

    Raises:
        ProcessorImportError: the import failed, or what it found is not a processor.
        SandboxUnavailable: it left something open that children must not share.
    """
    with _watched(processor.module_of(code.path), code.words) as shared_fds:
        found = resolve(code, has_hidden=has_hidden)
        if found.has_coroutines:
            coroutine_runner()
    return found, shared_fds


def load_libraries(names: Sequence[str]) -> list[int]:
    """Import modules for children that import the processor themselves.

    Returns:
        The read-only files that they hold open.

    Raises:
        ProcessorImportError: one cannot be imported.
        SandboxUnavailable: one left something open that children must not share.
    """
    modules = ", ".join(names)
    with _watched(modules, modules) as shared_fds:
        for name in names:
            _import_library(name)
    return shared_fds


def _import_library(name: str) -> None:
    try:
        importlib.import_module(name)
    except BaseException as error:  # noqa: BLE001 - a wall: a module may raise anything
        raise ProcessorImportError(
            f"importing {name!r}, which preload names, failed: "
            f"{type(error).__name__}: {clean(ends.said(error), 2048)}",
            "Install it where the worker runs, or leave it out",
            clean_end(ends.stack(error), _MAX_TRACEBACK_BYTES),
        ) from None


@contextmanager
def _watched(modules: str, words: str) -> Iterator[list[int]]:
    """Check what imports leave open; the list is filled with what children may share.

    Args:
        modules: what is imported, by name.
        words: the same for people.
    """
    before, shared_fds = open_fds(), list[int]()
    with watching_threads() as starters:
        yield shared_fds
    refuse_threads(starters, modules)
    shared_fds += [fd for fd in sorted(open_fds() - before) if _is_shareable(fd, words)]


def resolve(
    code: UserCode, *, has_hidden: bool, explain: Callable[[BaseException], str] = lambda _: ""
) -> Processor:
    """Import a processor, or listeners.

    Args:
        code: what to import.
        has_hidden: as for `load`.
        explain: what the import was refused, if it was; else an empty text.

    Raises:
        ProcessorImportError: the import failed, or what it found is not a processor.
    """

    def remedy(error: BaseException) -> str:
        return explain(error) or import_remedy(error, has_hidden=has_hidden)

    find = delivery.resolve if code.is_listeners else processor.resolve
    found = _imported(code.words, lambda: find(code.path), remedy)
    if code.backoff:
        words = f"back-off strategies {code.backoff!r}"
        found.strategies = _imported(words, lambda: strategies.resolve(code.backoff), remedy)
    return found


def _imported(
    words: str, find: Callable[[], _Found], remedy: Callable[[BaseException], str]
) -> _Found:
    try:
        return find()
    except ProcessorImportError:
        raise
    except BaseException as error:  # noqa: BLE001 - a wall
        # Whatever a user's module raises at import, SystemExit included, is what we report.
        raise ProcessorImportError(
            f"importing {words} failed: {type(error).__name__}: {clean(ends.said(error), 2048)}",
            remedy(error),
            clean_end(ends.stack(error), _MAX_TRACEBACK_BYTES),
        ) from None


def import_remedy(error: BaseException, *, has_hidden: bool) -> str:
    """What to do about an import, or a `setup()`, that raised."""
    variable = processor.missing_variable(error)
    if variable is not None:
        return processor.variable_remedy(variable)
    if isinstance(error, ModuleNotFoundError):
        return (
            "The import path is the worker's own, its working directory included: start it where "
            "the module can be found, or install the package in its environment"
        )
    is_of_code = isinstance(error, SyntaxError | NameError | ImportError)
    hint = _CLEAN_ENVIRONMENT if has_hidden and not is_of_code else ""
    return f"Mend the module, then start again{hint}"


def coroutine_runner() -> Callable[[Coroutine[Any, Any, Any], Wire], Any]:
    """What runs a coroutine; asyncio is imported only where there is one."""
    from toril.sandbox import coroutine  # noqa: PLC0415 - see above

    return coroutine.run


def open_fds() -> set[int]:
    """The open fds of this process."""
    return {int(name) for name in os.listdir("/proc/self/fd") if _is_open(int(name))}


@contextmanager
def watching_threads() -> Iterator[list[str]]:
    """Collect the modules during whose import the number of threads grew, innermost first."""
    starters: list[str] = []
    seen = proc.thread_count()
    original = builtins.__import__

    def watched(name: str, *args: Any, **kwargs: Any) -> Any:
        nonlocal seen
        known = len(sys.modules)
        try:
            return original(name, *args, **kwargs)
        finally:
            if len(sys.modules) != known and (now := proc.thread_count()) > seen:
                seen = now
                starters.append(_innermost(name, args))

    builtins.__import__ = watched
    try:
        yield starters
    finally:
        builtins.__import__ = original


def refuse_threads(starters: Sequence[str], module: str = "") -> None:
    """Refuse to go on with more than one thread: a fork copies their locks, but not them.

    Args:
        starters: modules whose import started one, as far as they are known.
        module: the processor's module, if it was its import that is looked at.

    Raises:
        SandboxUnavailable: it names the module that started one, if that is known.
    """
    if (count := proc.thread_count()) == 1:
        return
    if not module:
        who = ", ".join(_living_threads()) or "C code"
    elif starters:
        who = f"importing {', '.join(starters)} (for {module})"
    else:
        who = f"importing {module}"
    others = "the other" if count == 2 else "the others"  # noqa: PLR2004 - one, and the main one
    raise SandboxUnavailable(
        f"the zygote has {count} threads, and can fork safely with one only: "
        f"{who} started {others}",
        IMPORT_IN_CHILD.replace("Open it", "Start it"),
    )


def _innermost(name: str, args: tuple[Any, ...]) -> str:
    """The full name of what an import statement imports: `from . import x` in package p is p.x."""
    given: tuple[Any, ...] = (*args, *(None, None, (), 0)[len(args) :])
    namespace, _, names, level = given
    if level:
        parents = str((namespace or {}).get("__package__", "")).split(".")
        name = ".".join([*parents[: len(parents) + 1 - level], *([name] if name else [])])
    inner = f"{name}.{next(iter(names or ()), '')}"
    return inner if inner in sys.modules else name


def _living_threads() -> list[str]:
    return [
        f"{_home_of(thread)} (thread {thread.name!r})"
        for thread in threading.enumerate()
        if thread is not threading.main_thread()
    ]


def _home_of(thread: threading.Thread) -> str:
    target = getattr(thread, "_target", None)
    return getattr(target, "__module__", None) or type(thread).__module__


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _is_shareable(fd: int, words: str) -> bool:
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
        f"importing {words} left {kind} open (fd {fd}: {target}), which all children would share",
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
