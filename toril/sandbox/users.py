"""Users of children when the supervisor is root: one that nobody else has, for every child.

A user of its own makes the kernel's per-user limit on processes a limit on one child, and keeps
children, and everything else on the machine, out of each other's reach. Nobody is added to
/etc/passwd: numbers are enough.
"""

# ruff: noqa: PTH110, PTH112, PTH116, PTH120, PTH123 - no pathlib where children are made

from __future__ import annotations

import os
import pwd
import socket
from typing import TYPE_CHECKING

from toril.errors import SandboxUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

COUNT = 4096
"""Users in a range; chosen: more children than any machine runs, few enough to name in a firewall
or audit rule."""

BASES = (2_000_000_000, 61_184)
"""First users of the default range, the first that exists here is taken; chosen: the first lies
where systemd's list of ids has "unused", the second, for containers with 65,536 ids, in the range
of systemd's dynamic users, which containers do not have.

Source: systemd's docs/UIDS-GIDS.md."""


def default_base(uid_map: str) -> int | None:
    """The default range's first user; None when no range exists in this user namespace.

    Args:
        uid_map: /proc/self/uid_map.

    Source: user_namespaces(7).
    """
    rows = [[int(field) for field in line.split()] for line in uid_map.splitlines()]
    for base in BASES:
        if any(first <= base and base + COUNT <= first + length for first, _, length in rows):
            return base
    return None


def base_of(wanted: int | None) -> int:
    """The range's first user: as configured, or the default.

    Raises:
        SandboxUnavailable: no range exists here.
    """
    if wanted is not None:
        return wanted
    with open("/proc/self/uid_map", encoding="ascii") as file:
        base = default_base(file.read())
    if base is None:
        raise SandboxUnavailable(
            "toril runs as root, and this user namespace has no users left for its children",
            "Start it as an ordinary user, name the first of 4,096 unused users (--child-uid N), "
            "or let children be root in writing (--waive uid)",
        )
    return base


class Users:
    """Hands out users of one range, none twice on this machine.

    An abstract socket is the lock: the kernel lets go of it with the process that holds it, however
    that ends. (Of this network namespace only; another one's supervisor needs another range.)
    """

    def __init__(self, base: int) -> None:
        self._base = base
        self._held: dict[int, socket.socket] = {}

    def take(self) -> int:
        """A user that nobody has.

        Raises:
            SandboxUnavailable: all of the range are taken.
        """
        for uid in range(self._base, self._base + COUNT):
            if uid not in self._held and not _is_named(uid):
                lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                try:
                    lock.bind(f"\0toril-uid-{uid}")
                except OSError:
                    lock.close()
                    continue
                self._held[uid] = lock
                return uid
        raise SandboxUnavailable(
            f"all {COUNT} users from {self._base} on are taken",
            "Name the first of another range (--child-uid N)",
        )

    def give_back(self, uid: int) -> None:
        """Nobody runs as this user any more."""
        self._held.pop(uid).close()


def become(uid: int | None) -> None:
    """Become this user and the group of the same number, for good; None: stay who we are.

    It clears the death signal and makes the process non-dumpable. Source: setresuid(2), prctl(2).
    """
    if uid is None:
        return
    os.setgroups(())
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def out_of_reach(readable: Iterable[str], writable: Iterable[str] = ()) -> str:
    """The first of these paths that this user cannot get at; else empty.

    Two lines: what is in the way, and what to do about it.
    A file's own mode is not looked at: whether a job needs it shows when it opens it.
    """
    for path in (*readable, *writable):
        if wall := _closed_above(path):
            return f"{path}: {_moded(wall)} is closed to them\nOpen it (chmod o+x {wall})"
        if os.path.isdir(path) and not os.access(path, os.R_OK | os.X_OK):
            return f"{_moded(path)}\nOpen it to them (chmod o+rx {path})"
    for path in writable:
        if os.path.exists(path) and not os.access(path, os.W_OK):
            return f"{_moded(path)}, which they shall write\nLet them (chmod o+w {path})"
    return ""


def _closed_above(path: str) -> str:
    """The directory above `path` that this user cannot pass."""
    above = []
    while path != "/":
        path = os.path.dirname(path)
        above.append(path)
    return next((one for one in reversed(above) if not os.access(one, os.X_OK)), "")


def _moded(path: str) -> str:
    return f"{path} (mode {os.stat(path).st_mode & 0o7777:04o})"


def _is_named(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
