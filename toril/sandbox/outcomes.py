"""From what a child said, or how it died, to an `Outcome`: pure.

Every message reads well behind "job 5 failed: " and between brackets behind "crashed 3 times".
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from toril.call import Outcome, Usage, Verdict
from toril.errors import ProtocolError
from toril.sandbox.deaths import LOST_WORDS, Death, signal_name
from toril.sandbox.text import clean, clean_end
from toril.units import MAX_DURATION_MS, format_bytes, format_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from toril.sandbox.limits import Limits
    from toril.sandbox.listener import ChildExit

_MAX_MESSAGE_BYTES = 2048
_MAX_STACK_BYTES = 32 * 1024
_POSTPONED = frozenset({Verdict.DELAYED, Verdict.RATE_LIMITED})
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
        Verdict.WAITING_CHILDREN,
        *_POSTPONED,
    )
}
"""What a child may say about its own end; every other verdict is the supervisor's to give."""

_MESSAGES: Mapping[Verdict, str] = {
    Verdict.INTERRUPTED: "interrupted: the worker stops",
    Verdict.CANCELLED: "cancelled",
    Verdict.TIMED_OUT: "timed out",
    Verdict.BROKE_PROTOCOL: "broke the frame protocol",
    Verdict.LOCK_LOST: "lost its lock, killed",
    Verdict.LOST: "lost",
    Verdict.DISCONNECTED: "closed its socket to the supervisor without a result",
    Verdict.OVER_MEMORY: "over the memory limit",
    Verdict.CPU_LIMIT: "over the CPU limit",
    Verdict.OVER_DISK: "over the limit of its work directory",
    Verdict.OVER_THREADS: "over the limit of threads",
}

_ON_REQUEST = frozenset({Verdict.INTERRUPTED, Verdict.CANCELLED, Verdict.LOCK_LOST})
"""Ends that say nothing against the child."""

Detail = dict[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a child, or its call, had to end.

    Attributes:
        verdict: the reason.
        why: what exactly; empty when the verdict says all.
        remedy: what to do about it, if that is known.
        traceback: of the processor's import, if that failed.
    """

    verdict: Verdict
    why: str = ""
    remedy: str = ""
    traceback: str = ""

    @property
    def words(self) -> str:
        """The fault for people."""
        if self.verdict in {Verdict.UNAVAILABLE, Verdict.IMPORT_FAILED}:
            return self.why
        if self.verdict is Verdict.LOST and not self.why:
            return LOST_WORDS
        message = _MESSAGES.get(self.verdict, self.verdict.value)
        return f"{message}: {self.why}" if self.why else message


class _ErrorPayload(msgspec.Struct):
    kind: str
    name: str
    message: str
    stack: str
    delay_ms: int
    backoff_ms: int | None = None
    backoff_fault: str = ""


class _FaultPayload(msgspec.Struct):
    step: str
    error: str
    remedy: str
    traceback: str
    is_import: bool


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
        if not payload.isascii():
            payload.decode()
        _raw_decoder.decode(payload)
    except ValueError as error:
        raise ProtocolError(f"{what} is not JSON: {clean(str(error), 200)}") from None


def returned(payload: bytes, usage: Usage = Usage(), detail: Detail | None = None) -> Outcome:  # noqa: B008 - frozen
    """The outcome of a RESULT frame.

    Args:
        payload: JSON text.
        usage: what the attempt used.
        detail: what else is known.

    Raises:
        ProtocolError: the payload is not JSON.
    """
    detail = detail or {}
    try:
        check_json("result", payload)
    except RecursionError:
        # Not a broken rule: how deep this process can look depends on its own stack.
        words = "result is not JSON: nested too deeply"
        return Outcome(Verdict.RESULT_INVALID, message=words, detail=detail, usage=usage)
    return Outcome(Verdict.RETURNED, value=payload, detail=detail, usage=usage)


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
    if not 0 <= error.delay_ms <= MAX_DURATION_MS:
        raise ProtocolError("ERROR frame asks for a delay outside 0 to 10 years")
    if error.backoff_ms is not None and not -1 <= error.backoff_ms <= MAX_DURATION_MS:
        raise ProtocolError("ERROR frame asks for a back-off outside -1 (none) to 10 years")
    return Outcome(
        verdict,
        error_name=clean(error.name, 256),
        message=clean(error.message, _MAX_MESSAGE_BYTES),
        stack=clean_end(error.stack, _MAX_STACK_BYTES),
        detail=_detail(verdict, error),
    )


def _detail(verdict: Verdict, error: _ErrorPayload) -> Detail:
    if verdict in _POSTPONED:
        return {"delay_ms": error.delay_ms}
    if verdict is not Verdict.RAISED:
        return {}
    advice: Detail = {} if error.backoff_ms is None else {"backoff_ms": error.backoff_ms}
    if error.backoff_fault:
        advice["backoff_fault"] = clean(error.backoff_fault, _MAX_MESSAGE_BYTES)
    return advice


def fault(payload: bytes) -> Fault:
    """What a FAULT frame says.

    Raises:
        ProtocolError: the payload is not what a FAULT frame carries.
    """
    try:
        report = _fault_decoder.decode(payload)
    except (ValueError, RecursionError):
        raise ProtocolError("FAULT frame is malformed") from None
    words, remedy = clean(report.error, _MAX_MESSAGE_BYTES), clean(report.remedy, 1024)
    if report.is_import:
        trace = clean_end(report.traceback, _MAX_STACK_BYTES)
        return Fault(Verdict.IMPORT_FAILED, words, remedy, trace)
    step = clean(report.step, 64)
    why = f'setting up a child failed at step "{step}": {words}'
    return Fault(Verdict.UNAVAILABLE, why, remedy)


def ended(fault: Fault, *, limits: Limits, usage: Usage, detail: Detail) -> Outcome:
    """The outcome of an attempt that the supervisor ended, or that its child could not go on with.

    Args:
        fault: the first reason.
        limits: what the child may use.
        usage: what the attempt used.
        detail: what else is known.
    """
    message = fault.words
    match fault.verdict:
        case Verdict.TIMED_OUT:
            message = (
                f"timed out after {format_ms(usage.wall_ms)} (limit {_limit(limits.timeout_s)})"
            )
            detail["limit_ms"] = round(limits.timeout_s * 1000)
        case Verdict.CPU_LIMIT:
            detail["limit_ms"] = round((limits.cpu_s or 0) * 1000)
        case Verdict.OVER_MEMORY:
            detail |= {"limit_bytes": limits.memory_bytes or 0, "by": "watchdog"}
        case Verdict.BROKE_PROTOCOL:
            detail["rule"] = fault.why
    return Outcome(fault.verdict, message=message, detail=detail, usage=usage)


def excess(limits: Limits, headroom: float, growth_bytes: int, threads: int) -> Fault | None:
    """What a child has too much of that the kernel did not refuse.

    Args:
        limits: what it may have.
        headroom: factor on the limit of memory.
        growth_bytes: how much it has grown.
        threads: those of its process.
    """
    most_bytes, most = limits.memory_bytes, limits.max_threads
    if most_bytes is not None and growth_bytes > most_bytes * headroom:
        grown, limit = format_bytes(growth_bytes), format_bytes(most_bytes)
        return Fault(Verdict.OVER_MEMORY, f"grew by {grown} (limit {limit}), killed")
    if most is not None and threads > most:
        return Fault(Verdict.OVER_THREADS, f"has {threads} (limit {most}), killed")
    return None


def over_cpu(limits: Limits, used_ms: float) -> Fault:
    """The attempt has used more CPU time than it may."""
    limit = format_ms((limits.cpu_s or 0) * 1000)
    return Fault(Verdict.CPU_LIMIT, f"used {format_ms(used_ms)} (limit {limit})")


def softly_timed_out(outcome: Outcome, limits: Limits, usage: Usage) -> Outcome:
    """The outcome of an attempt that ended by the SoftTimeout it was sent."""
    soft_s = limits.soft_timeout_s or 0
    message = f"timed out after {format_ms(usage.wall_ms)} (soft limit {_limit(soft_s)})"
    detail: Detail = {"limit_ms": round(soft_s * 1000), "soft": True, "stage": "exception"}
    changed = {"verdict": Verdict.TIMED_OUT, "message": message, "detail": detail, "usage": usage}
    return msgspec.structs.replace(outcome, **changed)


def died(death: Death, *, usage: Usage, detail: Detail) -> Outcome:
    """The outcome of an attempt whose child died by itself."""
    return Outcome(death.verdict, message=death.words, detail=detail | manner(death), usage=usage)


def manner(death: Death) -> Detail:
    """How a process ended, for an outcome's detail."""
    detail: Detail = {}
    if death.signal is not None:
        detail["signal"] = signal_name(death.signal)
    if death.exit_code is not None:
        detail["exit_code"] = death.exit_code
    return detail


def judged(facts: ChildExit, death: Death, fault: Fault | None, *, was_ready: bool) -> ChildExit:
    """How a child left, with the reason if that was a fault.

    Args:
        facts: what is known; `expected` says that it was told to go, or asked to be replaced.
        death: its end.
        fault: why it had to go, if it had.
        was_ready: it had come as far as READY.
    """
    if fault is not None:
        return replace(
            facts,
            expected=facts.expected and fault.verdict in _ON_REQUEST,
            reason=fault.verdict,
            message=fault.words,
            remedy=fault.remedy,
            traceback=fault.traceback,
        )
    is_clean = death.exit_code in {None, 0} and death.signal in {None, signal.SIGKILL}
    if facts.expected and is_clean:
        return facts
    if not was_ready:
        how = death.words.removesuffix(" without a result")
        message = f"a child {how} before it was ready"
        return replace(facts, expected=False, reason=Verdict.UNAVAILABLE, message=message)
    return replace(facts, expected=False, reason=death.verdict, message=death.words)


def _limit(timeout_s: float) -> str:
    return format_ms(timeout_s * 1000).removesuffix(" 0 s")
