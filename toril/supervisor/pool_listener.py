"""What a pool tells its worker: the seam between children and jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from toril.call import Call, Outcome
    from toril.errors import SandboxUnavailable
    from toril.sandbox.handle import Child
    from toril.sandbox.listener import ChildExit
    from toril.sandbox.record import Record
    from toril.sandbox.reply import Reply


class PoolListener(Protocol):
    """What a pool tells its worker; called on the loop."""

    def on_ready(self) -> None:
        """A child is idle."""

    def on_outcome(self, child: Child, call: Call, outcome: Outcome) -> None:
        """An attempt ended."""

    def on_next(self, child: Child, call: Call) -> None:
        """The next attempt in the same child began, which lay ready."""

    def on_recalled(self, child: Child, calls: list[Call]) -> None:
        """Calls that lay ready were taken back unseen, in order."""

    def on_progress(self, child: Child, call: Call, value: bytes) -> None:
        """A job reported progress, JSON text."""

    def on_log(self, child: Child | None, call: Call | None, stream: str, lines: list[str]) -> None:
        """A job logged or printed lines, or without one a child, or the zygote."""

    def on_record(self, child: Child, call: Call, record: Record) -> None:
        """A job's `logging` made a record."""

    def on_update_data(self, child: Child, call: Call, value: bytes) -> None:
        """A job replaced its data, JSON text."""

    def on_checkpoint(self, child: Child, call: Call, value: bytes) -> None:
        """A job kept a state for its next attempt, JSON text."""

    def on_stack(self, child: Child, call: Call, text: str) -> None:
        """Where a job stands that has used most of its time."""

    def on_call(self, child: Child, call: Call, method: str, payload: bytes, reply: Reply) -> None:
        """A job asks for something and waits for the reply."""

    def on_death(self, exit: ChildExit) -> None:  # noqa: A002 - the sandbox's word
        """A child ended that was not asked to."""

    def on_orphans(self) -> None:
        """A zygote died: what it leaves behind is this process's to end."""

    def on_unavailable(self, error: SandboxUnavailable) -> None:
        """No child can be had; said once until `on_available`."""

    def on_available(self) -> None:
        """Children can be had again."""
