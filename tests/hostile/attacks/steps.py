"""How an attack is written: its registry, and system calls by number with the answer as a word."""

from __future__ import annotations

import ctypes
import errno
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ATTACKS: dict[str, Callable[..., Any]] = {}

_libc = ctypes.CDLL(None, use_errno=True)


def attack(function: Callable[..., Any]) -> Callable[..., Any]:
    """Enter an attack under its name."""
    ATTACKS[function.__name__] = function
    return function


def syscall(number: int, *arguments: int | bytes | None) -> int:
    """A system call that libc does not stand in front of; -1 becomes OSError."""
    ctypes.set_errno(0)
    passed = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result = _libc.syscall(ctypes.c_long(number), *passed)
    if result == -1:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return result


def met(act: Callable[[], object]) -> str:
    """What an act met: the name of its errno, of another exception, or `done`."""
    try:
        act()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    except Exception as error:  # noqa: BLE001 - libraries wrap what the kernel says
        return type(error).__name__
    return "done"


def all_met(steps: Mapping[str, Callable[[], object]]) -> dict[str, str]:
    """What each of several acts met."""
    return {name: met(act) for name, act in steps.items()}
