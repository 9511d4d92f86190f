"""What the supervisor hears of children and zygotes: the seam of this room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from toril.call import Call, Outcome, Verdict
    from toril.sandbox.handle import Child
    from toril.sandbox.launcher import Zygote
    from toril.sandbox.record import Record
    from toril.sandbox.reply import Reply


@dataclass(frozen=True, slots=True)
class ChildExit:
    """How a child left.

    Attributes:
        pid: None when it was never forked.
        exit_code: None unless it exited.
        signal: number of the signal that ended it; else None.
        expected: it was told to go, or asked to be replaced, and no fault of its own came before.
        ran: calls it was given.
        reason: why it had to go, or died; None when it just left.
        message: the same for people.
        stderr_tail: the last of what it wrote to stderr.
        remedy: what to do about the reason, if that is known.
        traceback: of the processor's import or `setup()`, if that failed in the child.
        is_orphan: its zygote died before it could report this end; nothing is said against the
            child, and nobody has swept what it left behind.
    """

    pid: int | None
    exit_code: int | None
    signal: int | None
    expected: bool
    ran: int
    reason: Verdict | None = None
    message: str = ""
    stderr_tail: str = ""
    remedy: str = ""
    traceback: str = ""
    is_orphan: bool = False


class ChildListener(Protocol):
    """Who is told what children do, always on the loop.

    `on_outcome` comes once for every `run`, before `on_idle` or `on_gone`; `on_gone` comes once,
    last. What a listener raises goes to the loop's exception handler.
    """

    def on_idle(self, child: Child) -> None:
        """The child may be given a call."""

    def on_progress(self, child: Child, call: Call, value: bytes) -> None:
        """The job's progress, JSON text."""

    def on_log(self, child: Child | None, call: Call | None, stream: str, lines: list[str]) -> None:
        """Lines of `log`, `stdout` or `stderr`.

        Without a call when none was running, without a child when the zygote wrote them.
        """

    def on_record(self, child: Child, call: Call, record: Record) -> None:
        """A record of the job's `logging`."""

    def on_update_data(self, child: Child, call: Call, value: bytes) -> None:
        """The job's new data, JSON text."""

    def on_checkpoint(self, child: Child, call: Call, value: bytes) -> None:
        """What the job's next attempt is to find, JSON text."""

    def on_stack(self, child: Child, call: Call, text: str) -> None:
        """The Python stack of a job that has used most of its time; at most once for a call."""

    def on_call(self, child: Child, call: Call, method: str, payload: bytes, reply: Reply) -> None:
        """The job asks for something and waits for the reply.

        `add`: payload is JSON text `{"name", "data", "options"}`, to be checked as any job's; the
        reply is the id. `children_values`, `ignored_children_failures`, `unprocessed_children`:
        payload is `null`, the reply JSON text. Another method is to be refused.
        """

    def on_outcome(self, child: Child, call: Call, outcome: Outcome) -> None:
        """The call's one outcome."""

    def on_next(self, child: Child, call: Call) -> None:
        """A call that lay ready has begun, right after the outcome of the one before."""

    def on_recalled(self, child: Child, calls: list[Call]) -> None:
        """Calls that lay ready were taken back: the child has not begun them and never will."""

    def on_gone(self, child: Child, exit: ChildExit) -> None:  # noqa: A002 - the word for it
        """The child is reaped, nothing of its process tree is left."""

    def on_zygote_gone(self, zygote: Zygote, reason: str) -> None:
        """The zygote ended by itself; all its children have had `on_gone`."""


def tell(loop: asyncio.AbstractEventLoop, listener: Callable[..., None], *news: Any) -> None:
    """Call a listener; what it raises goes to the loop's exception handler and no further."""
    try:
        listener(*news)
    except Exception as error:  # noqa: BLE001 - a wall: its fault must not stop a child's life
        message = f"listener {listener.__name__} failed"
        loop.call_exception_handler({"message": message, "exception": error})
