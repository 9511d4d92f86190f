"""The signals a supervisor answers: a table, and nothing done in a handler but to pass it on."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping


class Signalled(Protocol):
    """Who does what a signal asks for; called on the loop, never in a signal's frame."""

    def on_stop(self) -> None:
        """End: drain the first time, at once the second time."""

    def on_reload(self) -> None:
        """Read configuration and code anew."""

    def on_quiet(self) -> None:
        """Claim nothing more and stay."""

    def on_resume(self) -> None:
        """Claim again."""

    def on_dump(self) -> None:
        """Tell the log where everything stands."""


ANSWERS: Mapping[signal.Signals, Callable[[Signalled], None]] = {
    signal.SIGTERM: lambda one: one.on_stop(),
    signal.SIGINT: lambda one: one.on_stop(),
    signal.SIGHUP: lambda one: one.on_reload(),
    signal.SIGTSTP: lambda one: one.on_quiet(),
    signal.SIGCONT: lambda one: one.on_resume(),
    signal.SIGUSR1: lambda one: one.on_dump(),
}
"""Signal → what is done. SIGCONT also comes after a SIGSTOP: who was quiet then claims again."""


def listen(loop: asyncio.AbstractEventLoop, signalled: Signalled) -> None:
    """Answer the signals of the table from now on."""
    for number, answer in ANSWERS.items():
        loop.add_signal_handler(number, answer, signalled)
