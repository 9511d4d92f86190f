"""From `"module:attribute"` to the function that runs a job, with errors a user can act on."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from toril.errors import ProcessorImportError, TorilError

if TYPE_CHECKING:
    from types import ModuleType

    from toril.sandbox.job import SandboxedJob

Function = Callable[["SandboxedJob"], Any]
Hook = Callable[[], Any]

_environ_getitem = type(os.environ).__getitem__.__code__


class UnknownJobName(TorilError):
    """The processor is a mapping and has no function for this job name."""


class Processor:
    """A function for every job name: one for all, or one for each name of a mapping.

    Attributes:
        setup: called once in every child, before its first job; None when there is none.
        teardown: called in a child that leaves; None when there is none.
    """

    def __init__(
        self,
        functions: Mapping[str, Function] | Function,
        setup: Hook | None = None,
        teardown: Hook | None = None,
    ) -> None:
        self._functions = functions
        self.setup = setup
        self.teardown = teardown

    @property
    def has_coroutines(self) -> bool:
        """Whether a function is `async`, as far as can be told without calling it."""
        functions = self._functions
        every = functions.values() if isinstance(functions, Mapping) else [functions]
        return any(inspect.iscoroutinefunction(function) for function in every)

    def find(self, job_name: str) -> Function:
        """The function for a job name.

        Raises:
            UnknownJobName: it names the names there are.
        """
        if not isinstance(self._functions, Mapping):
            return self._functions
        function = self._functions.get(job_name)
        if function is None:
            known = ", ".join(sorted(map(repr, self._functions)))
            raise UnknownJobName(
                f"no processor for job name {job_name!r}{_did_you_mean(job_name, self._functions)}"
                f"; this queue's processor has {known}"
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
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise ProcessorImportError(
            f"processor {path!r} is not of the form module:attribute",
            'Write it like "myapp.images:processors"',
        )
    module = importlib.import_module(module_name)
    functions = _checked(path, _attribute(module, attribute))
    return Processor(functions, _hook(module, "setup"), _hook(module, "teardown"))


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


def _attribute(module: ModuleType, name: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        hint = _did_you_mean(name, dir(module))
        raise ProcessorImportError(
            f"module {module.__name__!r} has no attribute {name!r}{hint}",
            "Name a function, or a mapping from job name to functions",
        ) from None


def _hook(module: ModuleType, name: str) -> Hook | None:
    hook: Hook | None = getattr(module, name, None)
    if hook is None:
        return None
    what = f"{name} of module {module.__name__!r}"
    remedy = f"Make it a function without parameters, or give it another name than {name}"
    if not callable(hook) or inspect.iscoroutinefunction(hook):
        kind = "an async function" if callable(hook) else f"of type {type(hook).__name__}"
        raise ProcessorImportError(f"{what} is {kind}, expected a plain function", remedy)
    if not _takes(hook):
        raise ProcessorImportError(f"{what} has parameters, expected none", remedy)
    return hook


def _takes(function: Callable[..., Any], *arguments: object) -> bool:
    """Whether it can be called so; in doubt, yes. What a decorator wraps is not looked at."""
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


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
            "Name a function, or a mapping from job name to functions",
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ProcessorImportError(
            f"processor {path!r} is a generator: calling it runs nothing of it",
            "Let it return its result instead of yielding",
        )
    if not _takes(function, None):
        raise ProcessorImportError(
            f"processor {path!r} cannot be called with one argument, the job",
            "Write it like `def process(job)`",
        )


def _did_you_mean(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, [str(one) for one in known], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
