"""Acts that change a process for good, tried in one that is thrown away."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_WORDS = 4096


def tried(act: Callable[[], str]) -> str:
    """What a forked process that is thrown away says of an act: "" when it went as wanted."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = "ended without a word"
        try:
            said = act()
        except BaseException as error:  # noqa: BLE001 - a wall: it must not run on
            said = f"{type(error).__name__}: {error}"
        finally:
            os.write(writing, said.encode()[:_MAX_WORDS] or b"\0")
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        words = told.read()
    os.waitpid(pid, 0)
    return "died" if not words else words.decode(errors="replace").strip("\0")
