"""Where everything stands, for whoever looks into a supervisor that does something odd.

Values are gathered here and worded by the log; what a stack may come to is bounded.
"""

from __future__ import annotations

import asyncio
import io
import sys
import threading
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toril import events as ev
from toril import lifecycle
from toril.units import format_bytes, format_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from toril.runtime.claim import Claim
    from toril.runtime.lock import LockKeeper
    from toril.sandbox.handle import Child
    from toril.sandbox.limits import Limits
    from toril.supervisor.attempts import Attempts
    from toril.supervisor.health import Health
    from toril.supervisor.settings import QueueSettings

MAX_STACK_CHARACTERS = 16 * 1024
"""Longest stack in the log; chosen: hundreds of frames, and a line that a journal takes whole."""

_MAX_FRAMES = 20
"""Frames of one task or thread of the supervisor; chosen: it does not recurse."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What of a worker is looked at."""

    stage: str
    attempts: Attempts
    zygotes: Iterable[int]
    keeper: LockKeeper
    unrecorded: int
    health: Health


def tell(emit: ev.Emit, queue: QueueSettings, parts: Parts) -> None:
    """Emit a worker's state now, and the stack of each of its jobs when the child has answered."""
    children = parts.attempts.children
    margin_s = parts.keeper.margin_s if parts.keeper.held else None
    emit(
        lifecycle.StateDumped(
            queue=queue.name,
            stage=parts.stage,
            concurrency=parts.attempts.size,
            children=tuple(
                _child_state(*one) for one in sorted(children, key=lambda one: one[0].slot)
            ),
            zygotes=tuple(sorted(parts.zygotes)),
            held=len(parts.keeper.held),
            margin_ms=None if margin_s is None else round(margin_s * 1000),
            unrecorded=parts.unrecorded,
            limits=limit_words(queue.limits),
            complaints=tuple(one.text for one in parts.health.complaints),
        )
    )
    for child, claim in children:
        if claim is not None:
            _ask_stack(emit, queue.name, child, claim)


def _child_state(child: Child, claim: Claim | None) -> lifecycle.ChildState:
    return lifecycle.ChildState(
        slot=child.slot,
        pid=child.pid,
        state=child.state.value,
        job_id="" if claim is None else claim.id,
        since_ms=child.running_ms,
        jobs_run=child.jobs_run,
    )


def _ask_stack(emit: ev.Emit, queue: str, child: Child, claim: Claim) -> None:
    child.ask_stack(
        lambda text: emit(
            lifecycle.StackDumped(queue, claim.id, child.pid or 0, text[-MAX_STACK_CHARACTERS:])
        )
    )


def limit_words(limits: Limits) -> str:
    """The limits of one attempt that are set, for people."""
    words = {
        "timeout": format_ms(limits.timeout_s * 1000),
        "cpu": None if limits.cpu_s is None else format_ms(limits.cpu_s * 1000),
        "memory": None if limits.memory_bytes is None else format_bytes(limits.memory_bytes),
        "jobs a child": None if limits.max_jobs is None else str(limits.max_jobs),
    }
    return ", ".join(f"{name} {value}" for name, value in words.items() if value) or "none"


def own_stacks() -> str:
    """What every task and every other thread of this process is at."""
    text = io.StringIO()
    for task in sorted(asyncio.all_tasks(), key=asyncio.Task.get_name):
        text.write(f"Task {task.get_name()}:\n")
        text.writelines(_awaits(task.get_coro()))
    frames = sys._current_frames()  # noqa: SLF001 - the documented way to other threads
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.ident in frames:
            text.write(f"Thread {thread.name}:\n")
            traceback.print_stack(frames[thread.ident], limit=_MAX_FRAMES, file=text)
    return text.getvalue()[:MAX_STACK_CHARACTERS]


def _awaits(awaited: Any) -> Iterator[str]:
    """Where a suspended coroutine waits, and what it waits for; a task's own stack ends before."""
    for _ in range(_MAX_FRAMES):
        frame = getattr(awaited, "cr_frame", None)
        if frame is None:
            return
        code = frame.f_code
        yield f'  File "{code.co_filename}", line {frame.f_lineno}, in {code.co_qualname}\n'
        awaited = awaited.cr_await
