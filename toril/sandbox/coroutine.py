"""Runs the coroutine of an `async` processor; imported where there is one only, for asyncio's sake.

Every job has an event loop of its own. An interrupt cancels the job's task, and comes out as the
exception that a plain processor gets.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from toril.sandbox.wire import exception_for

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from toril.sandbox.wire import Wire


def run(coroutine: Coroutine[Any, Any, Any], wire: Wire) -> Any:
    """Run a coroutine to its end in a fresh loop.

    Raises:
        BaseException: what it raises; for a cancellation that an interrupt caused, `Cancelled`,
            `Interrupted` or `SoftTimeout`.
    """
    reasons: list[str] = []

    async def job() -> Any:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def interrupt(reason: str) -> None:
            reasons.append(reason)
            if task is not None:
                loop.call_soon_threadsafe(task.cancel, reason)

        wire.interrupt_task = interrupt
        try:
            return await coroutine
        finally:
            wire.interrupt_task = None

    try:
        return asyncio.run(job())
    except asyncio.CancelledError as cancelled:
        if not reasons:
            raise
        raise exception_for(reasons[-1]) from cancelled
