"""How a child died, as the zygote tells it: pure."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from toril.call import Verdict
from toril.sandbox.confine import LOST_SOCKET

LOST_WORDS = "lost: its zygote died"


@dataclass(frozen=True, slots=True)
class Death:
    """How a child ended, as the zygote reported it.

    Attributes:
        exit_code: None unless it exited.
        signal: None unless a signal ended it.
        cpu_ms: user and system time of its whole life; None when nobody could tell.
        was_out_of_memory: the kernel killed it, because its control group was full.
    """

    exit_code: int | None = None
    signal: int | None = None
    cpu_ms: float | None = None
    was_out_of_memory: bool = False

    @classmethod
    def from_status(
        cls, status: int, cpu_ms: float | None, *, was_out_of_memory: bool = False
    ) -> Death:
        """From a wait status."""
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            return cls(signal=number, cpu_ms=cpu_ms, was_out_of_memory=was_out_of_memory)
        return cls(exit_code=os.WEXITSTATUS(status), cpu_ms=cpu_ms)

    @property
    def words(self) -> str:
        """How it ended, for people; the subject may be the child or the job."""
        if self.was_out_of_memory:
            return "over the memory limit: its control group was full, killed by the kernel"
        if self.signal is not None:
            name = signal_name(self.signal)
            hint = (
                ": sent from outside, or by the kernel because memory ran out"
                if self.signal == signal.SIGKILL
                else ""
            )
            return f"died of {name}{hint}"
        if self.exit_code == LOST_SOCKET:
            return f"lost its socket to the supervisor, exited with code {LOST_SOCKET}"
        if self.exit_code is not None:
            return f"exited with code {self.exit_code} without a result"
        return LOST_WORDS

    @property
    def verdict(self) -> Verdict:
        """The verdict when nothing else is known about the end."""
        if self.was_out_of_memory:
            return Verdict.OVER_MEMORY
        if self.signal is not None:
            return Verdict.CRASHED
        return Verdict.LOST if self.exit_code is None else Verdict.EXITED


def signal_name(number: int) -> str:
    """`SIGSEGV` for 11; a real-time signal by its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
