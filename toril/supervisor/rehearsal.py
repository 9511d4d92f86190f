"""New code and new limits tried out beside a pool that works: a zygote, and one child of it.

Some of what can go wrong shows only in a child (`import = "child"`, `setup()`, a level that cannot
be enforced), so one has to be ready before anything old is let go.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from toril.call import Verdict
from toril.errors import ProcessorImportError, SandboxUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from toril.call import Call, Outcome
    from toril.sandbox.handle import Child
    from toril.sandbox.launcher import Zygote, ZygoteSpec
    from toril.sandbox.listener import ChildExit
    from toril.sandbox.record import Record
    from toril.sandbox.reply import Reply
    from toril.supervisor.zygotes import Zygotes

_FIRST_SLOT = 1


class Rehearsal:
    """A zygote whose first child is to be seen idle; hears both until a pool takes them over.

    Args:
        spec: what is tried out.
        zygotes: of the pool it is tried for.
        on_lines: what the processor's import prints.

    Attributes:
        spec: as given.
        zygote: the zygote; None before `run`.
        child: its first child; None before it is idle.
    """

    def __init__(
        self, spec: ZygoteSpec, zygotes: Zygotes, on_lines: Callable[[str, list[str]], None]
    ) -> None:
        self.spec = spec
        self.zygote: Zygote | None = None
        self.child: Child | None = None
        self._zygotes = zygotes
        self._on_lines = on_lines
        self._is_idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_ready(self) -> bool:
        """Can a pool take it over?"""
        return self.child is not None

    async def run(self) -> None:
        """Preload, fork, wait for READY.

        Raises:
            ProcessorImportError: the processor cannot be imported, or is not one.
            SandboxUnavailable: no child can be set up.
        """
        self.zygote = await self._zygotes.start(self.spec, self)
        try:
            child = self.zygote.fork(_FIRST_SLOT)
            await self._is_idle
            self.child = child
        except BaseException:
            await self.drop()
            raise

    async def drop(self) -> None:
        """End what was tried out."""
        if self.zygote is not None:
            await self._zygotes.end(self.zygote)

    # -- what the sandbox tells

    def on_idle(self, child: Child) -> None:
        """It can be done."""
        del child
        if not self._is_idle.done():
            self._is_idle.set_result(None)

    def on_gone(self, child: Child, exit: ChildExit) -> None:  # noqa: A002 - the sandbox's word
        """It cannot: the child says why."""
        del child
        self.child = None
        if self._is_idle.done():
            return
        error = SandboxUnavailable(exit.message or "the new child ended", exit.remedy)
        if exit.reason is Verdict.IMPORT_FAILED:
            error = ProcessorImportError(exit.message, exit.remedy, exit.traceback)
        self._is_idle.set_exception(error)

    def on_zygote_gone(self, zygote: Zygote, reason: str) -> None:
        """It died in between; its child has had `on_gone`."""
        self._zygotes.lost(zygote)
        if not self._is_idle.done():
            self._is_idle.set_exception(SandboxUnavailable(reason))

    def on_log(self, child: Child | None, call: Call | None, stream: str, lines: list[str]) -> None:
        """The import prints."""
        del child, call
        self._on_lines(stream, lines)

    # Without a call there is nothing of these.

    def on_record(self, child: Child, call: Call, record: Record) -> None:
        """Never."""

    def on_progress(self, child: Child, call: Call, value: bytes) -> None:
        """Never."""

    def on_update_data(self, child: Child, call: Call, value: bytes) -> None:
        """Never."""

    def on_checkpoint(self, child: Child, call: Call, value: bytes) -> None:
        """Never."""

    def on_stack(self, child: Child, call: Call, text: str) -> None:
        """Never."""

    def on_call(self, child: Child, call: Call, method: str, payload: bytes, reply: Reply) -> None:
        """Never."""

    def on_outcome(self, child: Child, call: Call, outcome: Outcome) -> None:
        """Never."""

    def on_next(self, child: Child, call: Call) -> None:
        """Never."""

    def on_recalled(self, child: Child, calls: list[Call]) -> None:
        """Never."""
