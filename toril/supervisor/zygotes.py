"""The zygotes of one pool: the one that forks, one that starts, old ones whose children still work.

A change must keep: whatever this process started and has not buried is in `pids`, from the moment
it exists; a sweep of strangers kills everything else.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from toril.sandbox.launcher import Zygote

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from toril.sandbox.launcher import ZygoteSpec
    from toril.sandbox.listener import ChildListener


class Zygotes:
    """Starts, replaces and ends them.

    Attributes:
        current: the one that children are forked from; None while there is none.
    """

    def __init__(self) -> None:
        self.current: Zygote | None = None
        self._beside: set[Zygote] = set()
        self._leaving: set[Zygote] = set()
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def pids(self) -> set[int]:
        """Every one that exists."""
        own = {self.current} if self.current is not None else set()
        return {zygote.pid for zygote in own | self._beside | self._leaving}

    async def start(self, spec: ZygoteSpec, listener: ChildListener) -> Zygote:
        """Start one beside the current one; it is preloaded when this returns.

        Raises:
            ProcessorImportError, SandboxUnavailable: as `Zygote.preload` does.
        """
        zygote = Zygote.launch(spec, listener)
        self._beside.add(zygote)
        try:
            await zygote.preload()
        except BaseException:
            self._beside.discard(zygote)
            raise
        return zygote

    def use(self, zygote: Zygote) -> None:
        """Children come from this one; the one before ends when its last child is gone."""
        self._beside.discard(zygote)
        if self.current is not None:
            self._leaving.add(self.current)
        self.current = zygote
        self.end_empty()

    def lost(self, zygote: Zygote) -> bool:
        """It died; was it the current one?"""
        self._beside.discard(zygote)
        self._leaving.discard(zygote)
        if zygote is not self.current:
            return False
        self.current = None
        return True

    def end_empty(self) -> None:
        """End old ones that have no child any more."""
        for zygote in [one for one in self._leaving if not one.children]:
            self._later(self.end(zygote))

    async def end(self, zygote: Zygote) -> None:
        """End one, and its children; it counts as ours until it is gone."""
        await zygote.stop()
        self._leaving.discard(zygote)
        self._beside.discard(zygote)

    async def close(self) -> None:
        """End them all."""
        ours = {*self._leaving, *self._beside, *([self.current] if self.current else [])}
        await asyncio.gather(*(self.end(zygote) for zygote in ours), *self._ending)

    def _later(self, end: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(end)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
