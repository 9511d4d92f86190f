"""The root directory of a `strict` child: an empty tmpfs with read-only views of what it may read.

`plan` looks at the host once, in the zygote; `enter` acts on the plan in every child. A change must
keep: nothing of the host is writable in it, the old root is gone when `enter` returns, and there is
no /proc.
"""

# ruff: noqa: PTH100, PTH102, PTH103, PTH106, PTH112, PTH115, PTH116, PTH118, PTH120, PTH208, PTH211 - no pathlib where children are made

from __future__ import annotations

import ctypes
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from toril.sandbox.namespaces import call

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
"""Devices that every program may expect; nothing else of /dev is there."""

_MS_NOSUID = 2
_MS_NODEV = 4
_MS_BIND = 4096
_MS_REC = 16384
_MS_PRIVATE = 1 << 18
_MNT_DETACH = 2

_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SYS_MOUNT_SETATTR = 442
"""The same number on every machine that Linux has been ported to since 2019."""

_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_ATTR_RDONLY = 0x1
_ATTR_NOSUID = 0x2
_ATTR_NODEV = 0x4

_OLD = "/.host"
"""Where the host's tree hangs between `pivot_root` and its end."""

_NEVER = frozenset({"/dev", "/proc", "/sys"})
_BEYOND = ("/proc/", "/sys/")

_ROOT_OPTIONS = b"mode=0755,size=1M,nr_inodes=4096"
"""Of the root itself; chosen: it holds directories, links and empty files to mount on only."""

_BYTES_PER_INODE = 4096
"""Of the writable part; chosen: as many files as blocks, so that empty files have an end too."""


class Kind(Enum):
    """What an entry of the root is."""

    DIRECTORY = "directory"
    LINK = "link"
    TREE = "tree"
    FILE = "file"
    WRITABLE = "writable"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to make, parents first.

    Attributes:
        kind: TREE and FILE are read-only views of the host's, WRITABLE is one that is not, DEVICE
            one that can be opened.
        path: where, the same as on the host.
        target: what a LINK says.
    """

    kind: Kind
    path: str
    target: str = ""


def plan(readable: Iterable[str], writable: Iterable[str] = ()) -> tuple[Entry, ...]:
    """What to make so that these paths are there as they are on the host; what is not, is left out.

    Links on the way to a path are made anew, and their targets shown; a path below another one is
    part of its view, unless it is a writable one.

    Args:
        readable: paths of directories and files.
        writable: those that can be written, too.
    """
    made: dict[str, Entry] = {}
    real: dict[str, Kind] = {}
    for path in (*_without_root(readable), *DEVICES):
        _look(path, made, real)
    for path in writable:
        open_to_write: dict[str, Kind] = {}
        _look(path, made, open_to_write)
        real |= {
            found: kind if kind is Kind.DEVICE else Kind.WRITABLE
            for found, kind in open_to_write.items()
        }
    shown = sorted(
        path
        for path, kind in real.items()
        if kind is Kind.WRITABLE or not any(_is_below(path, other) for other in real)
    )
    views = {path: Entry(real[path], path) for path in shown}
    places = {
        path: entry
        for path, entry in made.items()
        if path not in views and not any(_is_below(path, other) for other in shown)
    }
    return tuple(entry for _, entry in sorted((places | views).items()))


def enter(entries: Iterable[Entry], workplace: str, tmp_bytes: int) -> None:
    """Make the root and move into it; to be called in a mount namespace of our own.

    Args:
        entries: what `plan` returned.
        workplace: absolute path of the one directory that is writable: an empty tmpfs, which
            this process is in afterwards.
        tmp_bytes: its size.

    Raises:
        OSError: the kernel does not allow it (AppArmor lets `unshare` pass and forbids mounts).

    Source: pivot_root(2), mount_setattr(2), kernel 5.12.
    """
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    here = os.path.dirname(os.__file__)
    _mount("root", here, "tmpfs", _MS_NOSUID | _MS_NODEV, _ROOT_OPTIONS)
    os.chdir(here)
    os.mkdir(_OLD[1:], 0o700)
    _pivot_here()
    os.makedirs(workplace, 0o755, exist_ok=True)
    for entry in entries:
        _make(entry)
    call("umount2", _OLD.encode(), _MNT_DETACH)
    os.rmdir(_OLD)
    _set_attributes("/", _AT_RECURSIVE, _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV)
    for entry in entries:
        if entry.kind is Kind.DEVICE:
            _set_attributes(entry.path, 0, 0, _ATTR_NODEV)
        elif entry.kind is Kind.WRITABLE:
            _set_attributes(entry.path, _AT_RECURSIVE, 0, _ATTR_RDONLY)
    size = f"mode=0700,size={tmp_bytes},nr_inodes={max(16, tmp_bytes // _BYTES_PER_INODE)}"
    _mount("work", workplace, "tmpfs", _MS_NOSUID | _MS_NODEV, size.encode())
    os.chdir(workplace)


def _make(entry: Entry) -> None:
    if entry.kind is Kind.LINK:
        os.symlink(entry.target, entry.path)
        return
    is_directory = entry.kind in {Kind.DIRECTORY, Kind.TREE}
    if entry.kind is Kind.WRITABLE:
        is_directory = os.path.isdir(_OLD + entry.path)
    # Below a view of the host's, it is there already.
    if not os.path.lexists(entry.path):
        if is_directory:
            os.mkdir(entry.path, 0o755)
        else:
            os.close(os.open(entry.path, os.O_CREAT | os.O_CLOEXEC, 0o644))
    if entry.kind is not Kind.DIRECTORY:
        _mount(_OLD + entry.path, entry.path, None, _MS_BIND | _MS_REC)


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, options: bytes | None = None
) -> None:
    call(
        "mount",
        source and source.encode(),
        os.fsencode(target),
        kind and kind.encode(),
        ctypes.c_ulong(flags),
        options,
    )


def _pivot_here() -> None:
    """Make the current directory the root; the old one hangs under it."""
    number = _SYS_PIVOT_ROOT[os.uname().machine]
    call("syscall", ctypes.c_long(number), b".", os.fsencode(_OLD[1:]))
    os.chdir("/")


def _set_attributes(path: str, flags: int, wanted: int, unwanted: int = 0) -> None:
    attributes = (ctypes.c_uint64 * 4)(wanted, unwanted, 0, 0)
    call(
        "syscall",
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        os.fsencode(path),
        ctypes.c_uint(flags),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )


def _without_root(paths: Iterable[str]) -> Iterator[str]:
    """`/` as what lies in it; nothing of /proc and /sys."""
    for path in paths:
        if os.path.abspath(path) == "/":
            yield from (f"/{name}" for name in os.listdir("/") if f"/{name}" not in _NEVER)
        elif not path.startswith(_BEYOND):
            yield path


def _look(path: str, made: dict[str, Entry], real: dict[str, Kind]) -> None:
    with suppress(OSError):
        os.stat(path)
        _walk(os.path.abspath(path), made, real)


def _walk(path: str, made: dict[str, Entry], real: dict[str, Kind]) -> None:
    """Note every directory and link on the way to `path`, and what it leads to."""
    done = ""
    parts = path.strip("/").split("/")
    for place, part in enumerate(parts):
        here = f"{done}/{part}"
        status = os.lstat(here)
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(here)
            made[here] = Entry(Kind.LINK, here, target)
            rest = "/".join([target, *parts[place + 1 :]])
            _walk(os.path.normpath(os.path.join(done or "/", rest)), made, real)
            return
        done = here
        if stat.S_ISDIR(status.st_mode):
            made.setdefault(here, Entry(Kind.DIRECTORY, here))
    real[done] = _kind_of(os.lstat(done).st_mode)


def _kind_of(mode: int) -> Kind:
    if stat.S_ISDIR(mode):
        return Kind.TREE
    return Kind.DEVICE if stat.S_ISCHR(mode) else Kind.FILE


def _is_below(path: str, other: str) -> bool:
    return path.startswith(other.rstrip("/") + "/")
