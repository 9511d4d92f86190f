"""Takes a signal for an object that calls itself equal to whatever it is compared with."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toril import SandboxedJob


class Agreeing:
    __hash__ = None

    def __call__(self, *_: object) -> None:
        pass

    def __eq__(self, _other: object) -> bool:
        return True


def take_sigterm(_job: SandboxedJob) -> None:
    signal.signal(signal.SIGTERM, Agreeing())


def who_hears_sigterm(_job: SandboxedJob) -> str:
    return type(signal.getsignal(signal.SIGTERM)).__name__


processors = {"take": take_sigterm, "ask": who_hears_sigterm}
