"""Tasks that run beside a worker's loop for as long as it does, and end with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Beside:
    """Starts tasks that never end by themselves; an error in one is the worker's.

    Args:
        wake: called when one ended all the same, so that `check` is asked.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Run this from now on."""
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(lambda _: self._wake())
        self._tasks.append(task)

    def check(self) -> None:
        """Raise what ended one of them."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def end(self) -> None:
        """Cancel until they end: before Python 3.12 `wait_for` can swallow a cancellation."""
        while running := [task for task in self._tasks if not task.done()]:
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=0.1)
