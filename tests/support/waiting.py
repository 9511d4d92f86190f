"""Waiting for a state of the outside world that sends no event; everything else awaits one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_EVERY_S = 0.01


def until(look: Callable[[], Any], timeout_s: float = 15) -> Any:
    """The first true answer of `look`.

    Raises:
        TimeoutError: there was none in time.
    """
    deadline = time.monotonic() + timeout_s
    while not (answer := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"still {answer!r} after {timeout_s:g} s")
        time.sleep(_LOOK_EVERY_S)
    return answer
