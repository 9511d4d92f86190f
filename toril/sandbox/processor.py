"""From `"module:attribute"` to the function that runs a job, with errors a user can act on."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from toril.errors import ProcessorImportError, TorilError
from toril.sandbox import named

if TYPE_CHECKING:
    from types import ModuleType

    from toril.sandbox.job import SandboxedJob
    from toril.sandbox.strategies import Strategy

Function = Callable[["SandboxedJob"], Any]
Hook = Callable[[], Any]

MAX_NAMES = 100
"""Most job names that are told to the supervisor; chosen: each is a label of its metrics."""

MAX_NAME = 100
"""Longest of them, characters; chosen."""

_REMEDY = "Name a function, or a mapping from job name to functions"

_environ_getitem = type(os.environ).__getitem__.__code__


class UnknownJobName(TorilError):
    """The processor is a mapping and has no function for this job name."""


class Processor:
    """A function for every job name: one for all, or one for each name of a mapping.

    Attributes:
        setup: called once in every child, before its first job; None when there is none.
        teardown: called in a child that leaves; None when there is none.
        hears: for listeners, the names of the events that they take; else empty.
        strategies: back-off strategies by name; asked when a job has failed.
    """

    def __init__(
        self,
        functions: Mapping[str, Function] | Function,
        setup: Hook | None = None,
        teardown: Hook | None = None,
        hears: tuple[str, ...] = (),
    ) -> None:
        self._functions = functions
        self._only = None if isinstance(functions, Mapping) else functions
        self.setup = setup
        self.teardown = teardown
        self.hears = hears
        self.strategies: Mapping[str, Strategy] = {}

    @property
    def has_coroutines(self) -> bool:
        """Whether a function is `async`, as far as can be told without calling it."""
        functions = self._functions
        every = functions.values() if isinstance(functions, Mapping) else [functions]
        called = (*every, *self.strategies.values())
        return any(inspect.iscoroutinefunction(function) for function in called)

    @property
    def names(self) -> list[str]:
        """Job names of the mapping, not more than a few; empty for one function."""
        functions = self._functions
        every = list(functions) if isinstance(functions, Mapping) else []
        fit = [name for name in every if isinstance(name, str) and len(name) <= MAX_NAME]
        return [name.encode(errors="replace").decode() for name in fit[:MAX_NAMES]]

    def find(self, job_name: str) -> Function:
        """The function for a job name.

        Raises:
            UnknownJobName: it names the names there are.
        """
        if self._only is not None:
            return self._only
        functions = cast("Mapping[str, Function]", self._functions)
        function = functions.get(job_name)
        if function is None:
            known = ", ".join(sorted(map(repr, functions)))
            hint = named.did_you_mean(job_name, functions)
            raise UnknownJobName(
                f"no processor for job name {job_name!r}{hint}; this queue's processor has {known}"
            )
        return function


def resolve(path: str) -> Processor:
    """Import a processor.

    Args:
        path: `"package.module:attribute"`; the attribute is a function or a mapping from job name
            to functions.

    Raises:
        ProcessorImportError: the path is malformed, the attribute is not there, or is not one; or
            the module's `setup` or `teardown` is not a function without parameters.
        BaseException: whatever the module itself raises when it is imported.
    """
    module, found = named.find("processor", path, "myapp.images:processors", _REMEDY)
    functions = _checked(path, found)
    return Processor(functions, hook(module, "setup"), hook(module, "teardown"))


def missing_variable(error: BaseException) -> str | None:
    """The name of the environment variable whose absence raised this error; else None."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    is_from_environ = trace is not None and trace.tb_frame.f_code is _environ_getitem
    if is_from_environ and isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    return None


def variable_remedy(name: str) -> str:
    """What to do about a missing environment variable."""
    return (
        f"Children get a clean environment: name it in the queue's `env` setting (--env {name}), "
        "and set it where the worker is started"
    )


def module_of(path: str) -> str:
    """The module that a processor's path names."""
    return path.partition(":")[0]


def hook(module: ModuleType, name: str) -> Hook | None:
    """The module's `setup` or `teardown`; None when there is none.

    Raises:
        ProcessorImportError: it is not a plain function without parameters.
    """
    found: Hook | None = getattr(module, name, None)
    if found is None:
        return None
    what = f"{name} of module {module.__name__!r}"
    remedy = f"Make it a function without parameters, or give it another name than {name}"
    if not callable(found) or inspect.iscoroutinefunction(found):
        kind = "an async function" if callable(found) else f"of type {type(found).__name__}"
        raise ProcessorImportError(f"{what} is {kind}, expected a plain function", remedy)
    if not named.takes(found):
        raise ProcessorImportError(f"{what} has parameters, expected none", remedy)
    return found


def _checked(path: str, found: Any) -> Mapping[str, Function] | Function:
    if isinstance(found, Mapping):
        if not found:
            raise ProcessorImportError(f"processor {path!r} is an empty mapping")
        for name, function in found.items():
            _check_function(f"{path}[{name!r}]", function)
    else:
        _check_function(path, found)
    checked: Mapping[str, Function] | Function = found
    return checked


def _check_function(path: str, function: Any) -> None:
    if not callable(function):
        raise ProcessorImportError(
            f"processor {path!r} is of type {type(function).__name__}",
            _REMEDY,
        )
    if named.is_generator(function):
        raise ProcessorImportError(
            f"processor {path!r} is a generator: calling it runs nothing of it",
            "Let it return its result instead of yielding",
        )
    if not named.takes(function, None):
        raise ProcessorImportError(
            f"processor {path!r} cannot be called with one argument, the job",
            "Write it like `def process(job)`",
        )
