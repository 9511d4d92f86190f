"""Processes that end with the test session, even when pytest itself is killed."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# PR_SET_PDEATHSIG (1) outlives exec. The parent is compared afterwards: it may have died before.
_EXEC_TIED = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "if os.getppid() == int(sys.argv[1]): os.execvp(sys.argv[2], sys.argv[2:])\n"
)


def tied(argv: Sequence[str]) -> list[str]:
    """`argv`, wrapped so that the kernel kills it when the thread that started it ends.

    Start it from the main thread: the death signal belongs to the thread that forked.
    """
    return [sys.executable, "-I", "-S", "-c", _EXEC_TIED, str(os.getpid()), *argv]
