"""Landlock: which files, and which network, a process can reach from now on; for good.

What a kernel knows depends on its ABI; `Rights.of(abi)` says what we ask of which, purely. A rule
is a directory or file, opened once in the zygote, with rights to all below it. A rule set is made
per child, because its own directories are in it.

Source: landlock(7), linux/landlock.h. ABI 1: files (5.13); 2: rename and link across directories;
3: truncate; 4: TCP; 5: ioctl of devices; 6: scopes.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""The same on every architecture."""

_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
REMOVE_DIR = 1 << 4
REMOVE_FILE = 1 << 5
MAKE_CHAR = 1 << 6
MAKE_DIR = 1 << 7
MAKE_REG = 1 << 8
MAKE_SOCK = 1 << 9
MAKE_FIFO = 1 << 10
MAKE_BLOCK = 1 << 11
MAKE_SYM = 1 << 12
REFER = 1 << 13
TRUNCATE = 1 << 14
IOCTL_DEV = 1 << 15

ABI_OF_TRUNCATE, ABI_OF_TCP, ABI_OF_SCOPES = 3, 4, 6

_FILES_BY_ABI = {1: MAKE_SYM * 2 - 1, 2: REFER, ABI_OF_TRUNCATE: TRUNCATE, 5: IOCTL_DEV}
_NET_BY_ABI = {ABI_OF_TCP: 0b11}  # BIND_TCP and CONNECT_TCP
_SCOPES_BY_ABI = {ABI_OF_SCOPES: 0b11}  # ABSTRACT_UNIX_SOCKET and SIGNAL

READ = READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | TRUNCATE | REFER | REMOVE_DIR | REMOVE_FILE
WRITE |= MAKE_DIR | MAKE_REG | MAKE_FIFO | MAKE_SYM | MAKE_SOCK
"""All but devices: what can be done below a directory that may be written."""

_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""Rights that a rule for a single file can have."""

_RULE = struct.Struct("=Qi")

_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc.prctl
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


@dataclass(frozen=True, slots=True)
class Rights:
    """What a rule set governs: what is not granted by a rule is denied.

    Attributes:
        files: rights to files and directories.
        net: rights to TCP ports; 0 where the kernel has none.
        scopes: what does not leave the process's own domain; 0 where the kernel has none.
    """

    files: int
    net: int
    scopes: int

    @classmethod
    def of(cls, abi: int, *, has_network: bool) -> Rights:
        """What is asked of a kernel with this ABI.

        Args:
            abi: 1 or more; what is newer than we know is not used.
            has_network: TCP is allowed, so it is not governed.
        """
        net = 0 if has_network else _sum(_NET_BY_ABI, abi)
        return cls(_sum(_FILES_BY_ABI, abi), net, _sum(_SCOPES_BY_ABI, abi))


@dataclass(frozen=True, slots=True)
class Grant:
    """One rule: what may be done to an opened file, or below an opened directory."""

    fd: int
    rights: int


def _sum(by_abi: dict[int, int], abi: int) -> int:
    return sum(bits for since, bits in by_abi.items() if since <= abi)


def abi() -> int:
    """The kernel's Landlock ABI; 0 when it has none, or it is switched off."""
    found: int = _syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION)
    return max(found, 0)


def make_ruleset(rights: Rights, grants: Iterable[Grant]) -> int:
    """The fd of a rule set.

    Raises:
        OSError: the kernel refuses.
    """
    attributes = struct.pack("=QQQ", rights.files, rights.net, rights.scopes)
    size = 24 if rights.scopes else 16 if rights.net else 8
    ruleset = _check(
        _syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0), "a Landlock rule set"
    )
    for one in grants:
        add_rule(ruleset, rights, one)
    return ruleset


def add_rule(ruleset: int, rights: Rights, one: Grant) -> None:
    """Add a rule to a set that nobody has entered yet.

    Raises:
        OSError: the kernel refuses.
    """
    rule = _RULE.pack(one.rights & rights.files, one.fd)
    if _syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0) != 0:
        _check(-1, f"a Landlock rule for fd {one.fd}")


def restrict(ruleset: int) -> None:
    """Hold this process, and whatever it starts, to the rule set; for good.

    Raises:
        OSError: the kernel refuses, because no_new_privs is not set or 16 sets are stacked.
    """
    _check(_syscall(_RESTRICT_SELF, ruleset, 0), "entering a Landlock domain")


def forgo_privileges() -> None:
    """No program that is run from now on gets more privileges than this process has."""
    if _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        _check(-1, "no_new_privs")


def grant(path: str, rights: int) -> Grant:
    """The rule for a path; the caller closes its descriptor, which cannot be read from.

    Raises:
        OSError: it is not there.
    """
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
    return Grant(fd, rights if is_directory else rights & _OF_FILES)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
