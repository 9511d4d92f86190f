"""How a call ended, on the child's side: from a value or an exception to a frame."""

# ruff: noqa: PTH120 - no pathlib where children are made

from __future__ import annotations

import importlib
import os
import traceback
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from toril.errors import Delayed, InvalidOption, RateLimited, Unrecoverable, WaitingChildren
from toril.sandbox import denied
from toril.sandbox.frames import MAX_ERROR_BYTES, FrameType
from toril.sandbox.job import UnreadableJob
from toril.sandbox.processor import missing_variable, variable_remedy
from toril.sandbox.text import clean, clean_end, to_json
from toril.units import MAX_DURATION_MS, duration_ms, format_bytes, format_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from toril.sandbox.confine import Plan
    from toril.sandbox.limits import Limits
    from toril.sandbox.strategies import Advice

_MAX_MESSAGE_BYTES = 2048
_MAX_STACK_BYTES = 32 * 1024
_OUR_FRAMES = os.path.dirname(__file__)
_IMPORTLIB = importlib.__file__
_MACHINERY = ("<frozen importlib", "<frozen runpy")


class End(NamedTuple):
    """How a call ended: a frame to send, and why the child should not be used again, if so."""

    type: FrameType
    payload: bytes
    leaves: str = ""


def result(payload: bytes, limits: Limits) -> End:
    """A value came back, as JSON text."""
    limit = limits.result_bytes
    if len(payload) > limit:
        return _error(
            "result-too-large",
            "ResultTooLarge",
            f"result is {format_bytes(len(payload))}, over the limit of {format_bytes(limit)}",
        )
    return End(FrameType.RESULT, payload)


def raised(
    error: BaseException,
    plan: Plan,
    *,
    has_returned: bool,
    ask: Callable[[Exception], Advice | None] = lambda _: None,
) -> End:
    """An exception came out of the processor, or out of turning its result into JSON.

    Args:
        error: it.
        plan: what the child is, and may use.
        has_returned: the processor had ended well.
        ask: tells when the job is to be tried again, if somebody else's formula says so.
    """
    match error:
        case MemoryError():
            return _out_of_memory(error, plan.limits)
        case Unrecoverable():
            return failure("unrecoverable", error, plan)
        case Exception() if has_returned:
            return _error(
                "result-invalid",
                type(error).__name__,
                f"result is not JSON: {said(error)} (expected null, booleans, numbers, text, "
                "lists, and dicts with text keys)",
            )
        case Delayed() | RateLimited() | WaitingChildren():
            return _postponed(error)
        case Exception():
            return failure("raised", error, plan, ask(error))
        case _:
            name = type(error).__name__
            message = f"the processor left by {name}: {said(error)}"
            end = _error("processor-exit", name, message, stack(error))
            return end._replace(leaves=name)


def not_started(error: Exception, plan: Plan) -> End:
    """The processor was not called."""
    if isinstance(error, UnreadableJob):
        return _error("unreadable", type(error).__name__, said(error))
    return failure("raised", error, plan)


def failure(kind: str, error: BaseException, plan: Plan, advice: Advice | None = None) -> End:
    """An exception in its own words, and what the wall had to do with it."""
    message = said(error)
    if refusal := denied.explained(error, plan):
        message = f"{message}. {refusal}"
    if (variable := missing_variable(error)) is not None:
        message = f"{message} is not in the environment. {variable_remedy(variable)}"
    return _error(kind, type(error).__name__, message, stack(error), advice=advice)


def said(error: BaseException) -> str:
    """The error's own words, or its class name; `str()` of it runs user code."""
    try:
        text = str(error)
    except BaseException as broken:  # noqa: BLE001 - a wall: user code may raise anything
        return f"{type(error).__name__} (str() of it raised {type(broken).__name__})"
    return text or type(error).__name__


def stack(error: BaseException) -> str:
    """Python's traceback text without our own frames and the import system's."""
    try:
        told = traceback.TracebackException(type(error), error, error.__traceback__)
        _forget_ours(told)
        return "".join(told.format())
    except BaseException:  # noqa: BLE001 - a wall: it calls str() of the user's exceptions
        return ""


def _forget_ours(told: traceback.TracebackException) -> None:
    theirs = [one for one in told.stack if not _is_ours(one.filename)]
    told.stack = traceback.StackSummary.from_list(theirs)
    for before in (told.__cause__, told.__context__):
        if before is not None:
            _forget_ours(before)


def _is_ours(filename: str) -> bool:
    return filename.startswith((_OUR_FRAMES, *_MACHINERY)) or filename == _IMPORTLIB


def _postponed(error: Delayed | RateLimited | WaitingChildren) -> End:
    if isinstance(error, WaitingChildren):
        return _error("waiting-children", type(error).__name__, said(error))
    kind = "delayed" if isinstance(error, Delayed) else "rate-limited"
    try:
        delay_ms = (
            _until_ms(error.until)
            if isinstance(error, Delayed)
            else duration_ms(error.after, "RateLimited(after)")
        )
    except (InvalidOption, ArithmeticError) as invalid:
        return _error("raised", type(invalid).__name__, said(invalid), stack(error))
    how = "delayed by" if isinstance(error, Delayed) else "rate limited for"
    message = f"{how} {format_ms(delay_ms)}"
    return _error(kind, type(error).__name__, message, delay_ms=delay_ms)


def _until_ms(until: str | timedelta | datetime) -> int:
    """Milliseconds from now, by this machine's clock; 0 for the past."""
    if not isinstance(until, datetime):
        return duration_ms(until, "Delayed(until)")
    if until.tzinfo is None:
        raise InvalidOption(
            f"Delayed(until) is {until!r}; expected a datetime with a time zone, "
            "such as datetime.now(UTC) + timedelta(minutes=5)"
        )
    ms = round((until - datetime.now(UTC)) / timedelta(milliseconds=1))
    if ms > MAX_DURATION_MS:
        raise InvalidOption(f"Delayed(until) is {until!r}; expected within 10 years")
    return max(0, ms)


def _out_of_memory(error: MemoryError, limits: Limits) -> End:
    limit = limits.memory_bytes
    under = f" under a memory limit of {format_bytes(limit)}" if limit else ""
    words = said(error)
    message = f"MemoryError{under}" + (f": {words}" if words != "MemoryError" else "")
    end = _error("memory-error", "MemoryError", message, stack(error))
    return end._replace(leaves="out of memory")


def _error(  # noqa: PLR0913 - what an ERROR frame is made of
    kind: str,
    name: str,
    message: str,
    stack: str = "",
    *,
    delay_ms: int = 0,
    advice: Advice | None = None,
) -> End:
    fields: dict[str, Any] = {
        "kind": kind,
        "name": clean(name, 256),
        "message": clean(message, _MAX_MESSAGE_BYTES),
        "stack": clean_end(stack, _MAX_STACK_BYTES),
        "delay_ms": delay_ms,
    }
    if advice is not None:
        fields |= {"backoff_ms": advice.delay_ms, "backoff_fault": advice.fault}
    payload = to_json(fields)
    if len(payload) > MAX_ERROR_BYTES:
        # Control characters grow sixfold as JSON.
        payload = to_json(fields | {"stack": clean_end(stack, _MAX_STACK_BYTES // 4)})
    return End(FrameType.ERROR, payload)
