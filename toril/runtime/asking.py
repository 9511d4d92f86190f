"""What can be asked about a job that may be running: cancel it, show where it stands; no I/O.

A question goes to every supervisor of the queue as a message on the channel `P:Q:toril:ask`. A
message is a hint and may be lost: a cancellation is also marked on the job, and a stack is asked
for again. A change must keep: nothing is done to a job on the word of a message alone, because
channels are shared by all databases of a server.
"""

from __future__ import annotations

import enum
import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toril.runtime.command import REAL_TIME, Command
from toril.runtime.dialog import Program, Send, call, send
from toril.runtime.reading import state_of

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_MESSAGE_BYTES = 4096
"""Longest message that is read; chosen: ids are short, and anybody may publish."""

MAX_STACK_BYTES = 64 * 1024
"""Longest stack that is handed on or kept; chosen: a hundred threads, a small value."""

_NONCE = re.compile(r"[0-9a-f]{32}")


class Cancellation(enum.StrEnum):
    """What became of a wish to cancel a job."""

    CANCELLED = "cancelled"
    """It has failed without running on: now, or it was cancelled before."""
    ASKED = "asked"
    """It runs: its worker has been told to stop it, and learns of it again with each renewal of
    its lock. A worker that is not toril's does not listen."""
    FINISHED = "finished"
    """It had ended before; nothing changed."""
    REFUSED = "refused"
    """It waits for its children, or carries a schedule on; nothing changed."""
    GONE = "gone"
    """There is no such job; nothing changed."""


class Asked(enum.Enum):
    """What a message asks."""

    CANCEL = "cancel"
    STACK = "stack"


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to the supervisor that runs a job.

    Attributes:
        what: to look whether the job is cancelled, or to tell where it stands.
        job_id: the job, which may be anybody's.
        reply: nonce to answer to; empty when no answer is wanted.
    """

    what: Asked
    job_id: str
    reply: str = ""


def ask_channel(base: str) -> str:
    """The channel on which a queue's supervisors listen."""
    return f"{base}toril:ask"


def parse_ask(message: bytes) -> Ask | None:
    """A message's question; None for whatever else somebody published."""
    if len(message) > MAX_MESSAGE_BYTES:
        return None
    try:
        fields = json.loads(message)
        ask = Ask(Asked(fields["do"]), fields["id"], fields.get("reply", ""))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    if not isinstance(ask.job_id, str) or not isinstance(ask.reply, str):
        return None
    if ask.what is Asked.STACK and not _NONCE.fullmatch(ask.reply):
        return None
    return ask


def cancel_job(base: str, job_id: str, *, now_ms: int | str = REAL_TIME) -> Command[Cancellation]:
    """Fail a job that waits; mark one that runs, and tell its worker."""
    return Command("cancel", (base,), (now_ms, job_id), lambda reply: Cancellation(reply.decode()))


def answer_stack(base: str, reply: str, text: str) -> Command[str]:
    """Hand a stack to whoever asked for it."""
    raw = text.encode(errors="replace")[:MAX_STACK_BYTES]
    return Command("answer_stack", (base,), (REAL_TIME, reply, raw), lambda word: word.decode())


def ask_stack(
    base: str, job_id: str, timeout_s: float, clock: Callable[[], float], slice_ms: int
) -> Program[str | None]:
    """Where a running job stands, as its supervisor answers.

    Args:
        base: `P:Q:`.
        job_id: the job.
        timeout_s: how long to wait at most.
        clock: seconds, monotonic.
        slice_ms: longest time until the question is asked again.

    Returns:
        The stack; None when the job does not run, or nobody answered in time.

    Raises:
        RedisUnavailable: Redis could not be reached.
        RedisRefused: Redis does not let us ask.
    """
    deadline, nonce = clock() + timeout_s, uuid.uuid4().hex
    question = json.dumps({"do": Asked.STACK.value, "id": job_id, "reply": nonce})
    while (yield from call(state_of(base, job_id))).state == "active" and clock() < deadline:
        _checked(*(yield from send([("PUBLISH", ask_channel(base), question)])))
        block_s = min(slice_ms / 1000, max(deadline - clock(), 0))
        packet = ("BLPOP", f"{base}toril:stack:{nonce}", f"{max(block_s, 0.001):.3f}")
        answer = _checked(*(yield Send((packet,), is_blocking=True)))
        if answer:
            text: bytes = answer[1]
            return text.decode(errors="replace")
    return None


def _checked(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply
