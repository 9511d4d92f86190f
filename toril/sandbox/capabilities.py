"""What is left of root's privileges in a child that runs as root.

Source: capabilities(7), capset(2). With no_new_privs no program that it runs gets them back.
"""

from __future__ import annotations

import ctypes
import os
import struct

_VERSION_3 = 0x20080522
_DAC_OVERRIDE = 1
_HEADER = struct.Struct("=Ii")
_DATA = struct.Struct("=IIIIII")

_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_MAX_CAPABILITIES = 64
"""Bits of a capability set; given by the kernel's interface. It says EINVAL after the last one that
it knows."""

_libc = ctypes.CDLL(None, use_errno=True)
_capget, _capset = _libc.capget, _libc.capset  # Looked up once, not in every child.
_OWN = _HEADER.pack(_VERSION_3, 0)
_found = ctypes.create_string_buffer(_DATA.size)


def keep_file_access() -> None:
    """Drop every capability but the one without which root could not read other users' files.

    Which files those may be is Landlock's to say. A process without capabilities keeps none.

    Raises:
        OSError: the kernel refuses.
    """
    _set(effective() & (1 << _DAC_OVERRIDE))


def drop_all() -> None:
    """Give up every capability, and every way to get one back.

    Raises:
        OSError: the kernel refuses.
    """
    for number in range(_MAX_CAPABILITIES):
        if _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0) != 0:
            break
    clear = ctypes.c_ulong(_PR_CAP_AMBIENT_CLEAR_ALL)
    _check(_libc.prctl(_PR_CAP_AMBIENT, clear, 0, 0, 0), "clearing ambient capabilities")
    _set(0)


def effective() -> int:
    """The capabilities this process has now, as bits."""
    _check(_capget(_OWN, _found), "reading capabilities")
    low, _, _, high, _, _ = _DATA.unpack(_found.raw)
    return int(low) | int(high) << 32


def _set(bits: int) -> None:
    low, high = bits & 0xFFFFFFFF, bits >> 32
    data = _DATA.pack(low, low, 0, high, high, 0)
    _check(_capset(_OWN, data), "dropping capabilities")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
