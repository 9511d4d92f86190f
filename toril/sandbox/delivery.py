"""Listeners in their child: from `"module:attribute"` to what takes a batch of events.

A batch is one call: its data is a list of JSON texts, one for each event. Before every event but
the first its number goes out as progress, so that the supervisor knows which one a batch that does
not end well had come to. The first exception ends a batch; the supervisor goes on behind it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from toril.errors import ProcessorImportError
from toril.listeners import EVENTS
from toril.sandbox import named
from toril.sandbox.processor import Processor, hook
from toril.sandbox.text import from_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toril.listeners import WorkerEvent
    from toril.sandbox.job import SandboxedJob

_Listener = Callable[[Any], Any]

_REMEDY = f"Name a mapping from event name ({', '.join(EVENTS)}) to functions"


def resolve(path: str) -> Processor:
    """Import listeners.

    Args:
        path: `"package.module:attribute"`; the attribute is a mapping from event name to functions.

    Raises:
        ProcessorImportError: the path is malformed, the attribute is not there or not such a
            mapping; or the module's `setup` or `teardown` is no function without parameters.
        BaseException: whatever the module itself raises when it is imported.
    """
    module, found = named.find("listeners", path, "myapp.events:listeners", _REMEDY)
    listeners = _checked(path, found)
    is_async = any(inspect.iscoroutinefunction(one) for one in listeners.values())
    deliver = _awaiting(listeners) if is_async else _calling(listeners)
    hooks = hook(module, "setup"), hook(module, "teardown")
    return Processor(deliver, *hooks, hears=tuple(listeners))


def _calling(listeners: Mapping[str, _Listener]) -> Callable[[SandboxedJob], None]:
    def deliver(job: SandboxedJob) -> None:
        for listener, event in _events(job, listeners):
            listener(event)

    return deliver


def _awaiting(listeners: Mapping[str, _Listener]) -> Callable[[SandboxedJob], Any]:
    async def deliver(job: SandboxedJob) -> None:
        for listener, event in _events(job, listeners):
            said = listener(event)
            if inspect.isawaitable(said):
                await said

    return deliver


def _events(
    job: SandboxedJob, listeners: Mapping[str, _Listener]
) -> Iterator[tuple[_Listener, WorkerEvent]]:
    """Each event of a batch with its listener; what nobody listens to is passed over."""
    for number, text in enumerate(job.data):
        if number:
            job.update_progress(number)
            job.flush()
        fields = from_json(text.encode())
        name = fields.pop("event")
        if (listener := listeners.get(name)) is not None:
            yield listener, EVENTS[name](**fields)


def _checked(path: str, found: Any) -> Mapping[str, _Listener]:
    if not isinstance(found, Mapping):
        raise ProcessorImportError(
            f"listeners {path!r} is of type {type(found).__name__}, expected a mapping", _REMEDY
        )
    if not found:
        raise ProcessorImportError(f"listeners {path!r} is an empty mapping", _REMEDY)
    for name, function in found.items():
        if name not in EVENTS:
            hint = named.did_you_mean(name, EVENTS)
            raise ProcessorImportError(
                f"listeners {path!r} name the event {name!r}, which there is not{hint}",
                f"Expected {', '.join(EVENTS)}",
            )
        _check_function(f"{path}[{name!r}]", function)
    listeners: Mapping[str, _Listener] = dict(found)
    return listeners


def _check_function(path: str, function: Any) -> None:
    if not callable(function):
        raise ProcessorImportError(
            f"listener {path} is of type {type(function).__name__}, expected a function", _REMEDY
        )
    if named.is_generator(function):
        raise ProcessorImportError(
            f"listener {path} is a generator: calling it runs nothing of it",
            "Let it return instead of yielding",
        )
    if not named.takes(function, None):
        raise ProcessorImportError(
            f"listener {path} cannot be called with one argument, the event",
            "Write it like `def completed(event)`",
        )
