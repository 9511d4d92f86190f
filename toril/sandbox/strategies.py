"""Back-off strategies by name: user code, so the child that ran the processor asks it.

Asked after an exception of the processor only, while the job has attempts left. Whatever comes of
it, the attempt ends with the processor's own exception; without an answer the job waits its
`delay`. A strategy is a part of the attempt: its time is the attempt's, and interrupts reach it.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

from toril.errors import InvalidOption, ProcessorImportError
from toril.sandbox import named
from toril.sandbox.text import clean
from toril.units import duration_ms

if TYPE_CHECKING:
    from toril.sandbox.job import SandboxedJob

BUILT_IN = frozenset({"fixed", "exponential"})
"""Names that every worker knows; given by BullMQ."""

NO_RETRY = -1
"""The answer that fails the job for good; given by BullMQ."""

Strategy = Callable[[int, BaseException, "SandboxedJob"], Any]

_REMEDY = "Name a mapping from a strategy's name to `def strategy(attempts_made, error, job)`"
_MAX_FAULT_BYTES = 512


@dataclass(frozen=True, slots=True)
class Advice:
    """What came of asking.

    Attributes:
        delay_ms: the wait, 0 for none, `NO_RETRY`; None without an answer.
        fault: why there is none.
    """

    delay_ms: int | None = None
    fault: str = ""


class Runner(Protocol):
    """What runs user code so that an interrupt may reach it."""

    running: bool


def resolve(path: str) -> Mapping[str, Strategy]:
    """Import strategies.

    Args:
        path: `"package.module:attribute"`; the attribute is a mapping from name to functions.

    Raises:
        ProcessorImportError: the path is malformed, or the attribute is not there or not such a
            mapping.
        BaseException: whatever the module itself raises when it is imported.
    """
    what = "back-off strategies"
    _, found = named.find(what, path, "myapp.retries:strategies", _REMEDY)
    if not isinstance(found, Mapping) or not found:
        kind = type(found).__name__ if found or not isinstance(found, Mapping) else "empty mapping"
        raise ProcessorImportError(
            f"{what} {path!r} is of type {kind}, expected a mapping that is not empty", _REMEDY
        )
    for name, function in found.items():
        _check(f"{path}[{name!r}]", name, function)
    return dict(found)


def ask(
    strategies: Mapping[str, Strategy],
    job: SandboxedJob,
    error: Exception,
    wire: Runner,
    run_coroutine: Callable[[], Callable[..., Any]],
) -> Advice | None:
    """Ask the strategy that a job names; None when it names none, or will not be retried.

    Args:
        strategies: what this worker has.
        job: the job that failed.
        error: its exception.
        wire: `running` is true exactly while the strategy runs.
        run_coroutine: gives what runs a coroutine with the wire.
    """
    name = _name_of(job)
    if name is None:
        return None
    try:
        strategy = _known(strategies, name)
        wire.running = True
        value = strategy(job.attempts_made + 1, error, job)
        if isinstance(value, CoroutineType):
            value = run_coroutine()(value, wire)
        wire.running = False
        return Advice(_delay_ms(value))
    except BaseException as broken:  # noqa: BLE001 - a wall: user code may raise anything
        wire.running = False
        return Advice(fault=_tell(name, broken))


def _known(strategies: Mapping[str, Strategy], name: str) -> Strategy:
    strategy = strategies.get(name)
    if strategy is None:
        has = ", ".join(sorted(map(repr, strategies))) or "none, see --backoff"
        hint = named.did_you_mean(name, strategies)
        raise InvalidOption(f"there is no such strategy{hint}; this worker has {has}")
    return strategy


def _name_of(job: SandboxedJob) -> str | None:
    """The strategy to ask; the processor may have changed whatever it was given."""
    opts = job.opts if isinstance(job.opts, dict) else {}
    backoff, attempts = opts.get("backoff"), opts.get("attempts")
    kind = backoff.get("type") if isinstance(backoff, dict) else None
    if not isinstance(kind, str) or kind in BUILT_IN or not isinstance(job.attempts_made, int):
        return None
    is_last = isinstance(attempts, int | float) and job.attempts_made + 1 >= attempts
    return None if is_last else kind


def _delay_ms(value: Any) -> int:
    """Milliseconds of an answer.

    Raises:
        InvalidOption: it is none.
    """
    match value:
        case None:
            return 0
        case str() | timedelta():
            return duration_ms(value, "its answer")
        case int() if value in {0, NO_RETRY} and not isinstance(value, bool):
            return value
    raise InvalidOption(
        f"its answer is {value!r}; expected a duration such as '10s' or a timedelta, 0 or None "
        "(at once), or -1 (no retry)"
    )


def _tell(name: str, error: BaseException) -> str:
    """What went wrong, which goes to the job's log, too."""
    try:
        is_ours = isinstance(error, InvalidOption)
        words = str(error) if is_ours else f"it raised {type(error).__name__}: {error}"
        if not is_ours:
            traceback.print_exception(error)
        fault = f"back-off strategy {name!r}: {words}"
        print(f"{fault}. The job waits its delay", file=sys.stderr)  # noqa: T201 - the job's log
    except BaseException as worse:  # noqa: BLE001 - a wall: str() of it runs user code
        fault = f"back-off strategy {name!r}: it raised {type(worse).__name__}"
    return clean(fault, _MAX_FAULT_BYTES)


def _check(path: str, name: object, function: Any) -> None:
    if not isinstance(name, str) or not name or name in BUILT_IN:
        raise ProcessorImportError(
            f"back-off strategy {path} is named {name!r}, expected a text other than "
            f"{' and '.join(sorted(BUILT_IN))}",
            _REMEDY,
        )
    if not callable(function) or named.is_generator(function):
        kind = "a generator" if callable(function) else f"of type {type(function).__name__}"
        raise ProcessorImportError(
            f"back-off strategy {path} is {kind}, expected a function", _REMEDY
        )
    if not named.takes(function, 1, None, None):
        raise ProcessorImportError(
            f"back-off strategy {path} cannot be called with attempts_made, error and job", _REMEDY
        )
