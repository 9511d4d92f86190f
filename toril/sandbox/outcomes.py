"""From what a child said, or how it died, to an `Outcome`: pure."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from toril.call import Outcome, Usage, Verdict
from toril.errors import ProtocolError
from toril.sandbox.text import clean, clean_end
from toril.units import format_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from toril.sandbox.listener import ChildExit

_MAX_MESSAGE_BYTES = 2048
_MAX_STACK_BYTES = 32 * 1024
_KINDS: Mapping[str, Verdict] = {
    one.value: one
    for one in (
        Verdict.RAISED,
        Verdict.UNRECOVERABLE,
        Verdict.UNREADABLE,
        Verdict.RESULT_INVALID,
        Verdict.RESULT_TOO_LARGE,
        Verdict.PROCESSOR_EXIT,
        Verdict.MEMORY_ERROR,
    )
}
"""What a child may say about its own end; every other verdict is the supervisor's to give."""

_MESSAGES: Mapping[Verdict, str] = {
    Verdict.INTERRUPTED: "interrupted: the worker stops",
    Verdict.CANCELLED: "cancelled",
    Verdict.TIMED_OUT: "timed out",
    Verdict.BROKE_PROTOCOL: "its child broke the frame protocol",
    Verdict.LOCK_LOST: "lost its lock, killed",
    Verdict.LOST: "lost: the zygote of its child died",
    Verdict.DISCONNECTED: "its child closed the socket to the supervisor without a result",
    Verdict.OVER_MEMORY: "over the memory limit, killed",
    Verdict.CPU_LIMIT: "over the CPU limit, killed",
}

_ON_REQUEST = frozenset({Verdict.INTERRUPTED, Verdict.CANCELLED, Verdict.LOCK_LOST})
"""Ends that say nothing against the child."""

Detail = dict[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Death:
    """How a child ended, as the zygote reported it.

    Attributes:
        exit_code: None unless it exited.
        signal: None unless a signal ended it.
        cpu_ms: user and system time of its whole life; None when nobody could tell.
    """

    exit_code: int | None = None
    signal: int | None = None
    cpu_ms: float | None = None

    @classmethod
    def from_status(cls, status: int, cpu_ms: float | None) -> Death:
        """From a wait status."""
        if os.WIFSIGNALED(status):
            return cls(signal=os.WTERMSIG(status), cpu_ms=cpu_ms)
        return cls(exit_code=os.WEXITSTATUS(status), cpu_ms=cpu_ms)

    @property
    def words(self) -> str:
        """How it ended, for people."""
        if self.signal is not None:
            name = signal_name(self.signal)
            hint = (
                ": sent from outside, or by the kernel because memory ran out"
                if self.signal == signal.SIGKILL
                else ""
            )
            return f"crashed by {name}{hint}"
        if self.exit_code is not None:
            return f"exited with code {self.exit_code} without a result"
        return "ended in an unknown way"

    @property
    def verdict(self) -> Verdict:
        """The verdict when nothing else is known about the end."""
        if self.signal is not None:
            return Verdict.CRASHED
        return Verdict.LOST if self.exit_code is None else Verdict.EXITED


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a child, or its call, had to end.

    Attributes:
        verdict: the reason.
        why: what exactly; empty when the verdict says all.
    """

    verdict: Verdict
    why: str = ""

    @property
    def words(self) -> str:
        """The fault for people."""
        if self.verdict is Verdict.UNAVAILABLE:
            return self.why
        message = _MESSAGES.get(self.verdict, self.verdict.value)
        return f"{message}: {self.why}" if self.why else message


class _ErrorPayload(msgspec.Struct):
    kind: str
    name: str
    message: str
    stack: str


class _FaultPayload(msgspec.Struct):
    step: str
    error: str


_error_decoder = msgspec.json.Decoder(_ErrorPayload)
_fault_decoder = msgspec.json.Decoder(_FaultPayload)
_raw_decoder = msgspec.json.Decoder(msgspec.Raw)


def check_json(what: str, payload: bytes) -> None:
    """Check that a child's text is JSON, building no objects out of it.

    Raises:
        ProtocolError: it is not UTF-8 or not JSON.
        RecursionError: it is nested more deeply than can be checked.
    """
    try:
        payload.decode()
        _raw_decoder.decode(payload)
    except ValueError as error:
        raise ProtocolError(f"{what} is not JSON: {clean(str(error), 200)}") from None


def returned(payload: bytes) -> Outcome:
    """The outcome of a RESULT frame.

    Raises:
        ProtocolError: the payload is not JSON.
    """
    try:
        check_json("result", payload)
    except RecursionError:
        # Not a broken rule: how deep this process can look depends on its own stack.
        return Outcome(Verdict.RESULT_INVALID, message="result is not JSON: nested too deeply")
    return Outcome(Verdict.RETURNED, value=payload)


def failed(payload: bytes) -> Outcome:
    """The outcome of an ERROR frame; its texts are bounded again.

    Raises:
        ProtocolError: the payload is not what an ERROR frame carries.
    """
    try:
        error = _error_decoder.decode(payload)
        verdict = _KINDS[error.kind]
    except (ValueError, RecursionError, KeyError):
        raise ProtocolError("ERROR frame is malformed") from None
    return Outcome(
        verdict,
        error_name=clean(error.name, 256),
        message=clean(error.message, _MAX_MESSAGE_BYTES),
        stack=clean_end(error.stack, _MAX_STACK_BYTES),
    )


def fault(payload: bytes) -> str:
    """What a FAULT frame says, for people.

    Raises:
        ProtocolError: the payload is not what a FAULT frame carries.
    """
    try:
        report = _fault_decoder.decode(payload)
    except (ValueError, RecursionError):
        raise ProtocolError("FAULT frame is malformed") from None
    return f'setting up a child failed at step "{report.step}": {clean(report.error, 1024)}'


def ended(fault: Fault, *, timeout_s: float, usage: Usage) -> Outcome:
    """The outcome of an attempt that the supervisor ended, or that its child could not go on with.

    Args:
        fault: the first reason.
        timeout_s: the limit on wall time.
        usage: what the attempt used.
    """
    detail: Detail = {}
    match fault.verdict:
        case Verdict.TIMED_OUT:
            message = f"timed out after {format_ms(usage.wall_ms)} (limit {_limit(timeout_s)})"
            detail["limit_ms"] = round(timeout_s * 1000)
        case Verdict.BROKE_PROTOCOL:
            message = fault.words
            detail["rule"] = fault.why
        case _:
            message = fault.words
    return Outcome(fault.verdict, message=message, detail=detail, usage=usage)


def died(death: Death, stderr_tail: str, usage: Usage) -> Outcome:
    """The outcome of an attempt whose child died by itself."""
    detail: Detail = {}
    if death.signal is not None:
        detail["signal"] = signal_name(death.signal)
    if death.exit_code is not None:
        detail["exit_code"] = death.exit_code
    if stderr_tail:
        detail["stderr"] = stderr_tail
    message = death.words if death.verdict is not Verdict.LOST else _MESSAGES[Verdict.LOST]
    return Outcome(death.verdict, message=message, detail=detail, usage=usage)


def judged(facts: ChildExit, death: Death, fault: Fault | None, *, was_ready: bool) -> ChildExit:
    """How a child left, with the reason if that was a fault.

    Args:
        facts: what is known; `expected` says that it was told to go, or asked to be replaced.
        death: its end.
        fault: why it had to go, if it had.
        was_ready: it had come as far as READY.
    """
    if fault is not None:
        expected = facts.expected and fault.verdict in _ON_REQUEST
        return replace(facts, expected=expected, reason=fault.verdict, message=fault.words)
    is_clean = death.exit_code in {None, 0} and death.signal in {None, signal.SIGKILL}
    if facts.expected and is_clean:
        return facts
    if not was_ready:
        message = f"a child {death.words} before it was ready"
        return replace(facts, expected=False, reason=Verdict.UNAVAILABLE, message=message)
    return replace(facts, expected=False, reason=death.verdict, message=death.words)


def signal_name(number: int) -> str:
    """`SIGSEGV` for 11; a real-time signal by its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _limit(timeout_s: float) -> str:
    return format_ms(timeout_s * 1000).removesuffix(" 0 s")
