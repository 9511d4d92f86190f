"""From `"module:attribute"` to what it names, with errors a user can act on."""

from __future__ import annotations

import difflib
import importlib
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toril.errors import ProcessorImportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType


@dataclass(frozen=True, slots=True)
class UserCode:
    """The functions of the user that children call.

    Attributes:
        path: `"module:attribute"`.
        is_listeners: it names a mapping from event name to functions; else a processor.
        backoff: path of a mapping from name to back-off strategies; empty without.
    """

    path: str
    is_listeners: bool = False
    backoff: str = ""

    @property
    def words(self) -> str:
        """What it is, and its path, for messages."""
        return f"{'listeners' if self.is_listeners else 'processor'} {self.path!r}"


def find(what: str, path: str, example: str, remedy: str) -> tuple[ModuleType, Any]:
    """Import a module and look up an attribute of it.

    Args:
        what: the word for it in messages.
        path: `"package.module:attribute"`.
        example: a path that is well formed.
        remedy: what to name, if the attribute is not there.

    Raises:
        ProcessorImportError: the path is malformed, or the attribute is not there.
        BaseException: whatever the module itself raises when it is imported.
    """
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise ProcessorImportError(
            f"{what} {path!r} is not of the form module:attribute", f'Write it like "{example}"'
        )
    module = importlib.import_module(module_name)
    try:
        return module, getattr(module, attribute)
    except AttributeError:
        hint = did_you_mean(attribute, dir(module))
        raise ProcessorImportError(
            f"module {module.__name__!r} has no attribute {attribute!r}{hint}", remedy
        ) from None


def takes(function: Callable[..., Any], *arguments: object) -> bool:
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


def is_generator(function: object) -> bool:
    """Whether calling it would run nothing of it."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """` (did you mean 'x'?)`, or nothing when no name is close."""
    close = difflib.get_close_matches(str(name), [str(one) for one in known], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
