"""The directory a processor works in: put back after every call, and empty again if it is its own.

What a job leaves may be large, deep, or made to be hard to remove: it is removed without following
links and without ever building a long path. Most jobs leave nothing, and whether something was put
in can be told by the directory's time of change: it is made with one that lies in the past, which
every new entry moves, however coarse the clock of the file system is. The time at which its inode
changed is looked at beside it: no call sets that one back.
"""

# ruff: noqa: PTH208 - no pathlib where children are made

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PORTION = 128

_PAST_S = 60
"""How far a new directory is dated back; chosen: no file system's clock is as coarse, and what
removes old temporary files does not take it for one."""

_OLD_NS = _PAST_S * 1_000_000_000 // 2
"""Age of the last change from which the next one cannot have the same time."""

_chdir, _listdir, _stat, _umask = os.chdir, os.listdir, os.stat, os.umask
_now_ns = time.time_ns


def date_back(path: str) -> None:
    """Let a new, empty directory look older than it is; without it more is emptied than need be."""
    then_s = time.time() - _PAST_S
    with suppress(OSError):
        os.utime(path, (then_s, then_s))


class WorkDirectory:
    """Where one child works.

    Args:
        path: the directory.
        is_own: nobody else's, so that it is emptied.
    """

    def __init__(self, path: str, *, is_own: bool) -> None:
        self._path = path
        self._is_own = is_own
        found = _stat(path)
        self._place = found.st_dev, found.st_ino
        self._empty_since_ns = (-1, -1)
        if is_own:
            self._look()

    def restore(self) -> None:
        """Mask, directory, and nothing in it: as the next call is to find them."""
        _umask(0o077)
        found = self._found()
        if found is None or (found.st_dev, found.st_ino) != self._place:
            _chdir(self._path)
            found = _stat(".")
        if self._is_own and _times(found) != self._empty_since_ns:
            self._empty()

    def _found(self) -> os.stat_result | None:
        """Where the job has left us; None where nobody may look."""
        try:
            return _stat(".")
        except OSError:
            return None

    def _empty(self) -> None:
        for _ in empty(self._path):
            pass
        self._look()

    def _look(self) -> None:
        """If it is empty and its last change is old, it is empty as long as that is the last."""
        found = _stat(self._path)
        if found.st_mtime_ns < _now_ns() - _OLD_NS and not _listdir(self._path):
            self._empty_since_ns = _times(found)


def _times(found: os.stat_result) -> tuple[int, int]:
    return found.st_mtime_ns, found.st_ctime_ns


def empty(path: str) -> Iterator[None]:
    """Remove everything below a directory, a portion at a time; what cannot be removed stays."""
    with suppress(OSError):
        yield from _Emptying(path).run()


class _Emptying:
    """Goes down and up again by `..`, so that neither path nor number of descriptors grows."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, _OPEN)
        self._above: list[tuple[str, list[str]]] = []

    def run(self) -> Iterator[None]:
        """Yield after every portion."""
        try:
            yield from self._run()
        finally:
            os.close(self._fd)

    def _run(self) -> Iterator[None]:
        folders: list[str] = []
        yield from self._unlink(folders)
        while True:
            yield
            if folders:
                name = folders.pop()
                if self._enter(name):
                    self._above.append((name, folders))
                    folders = []
                    yield from self._unlink(folders)
            elif self._above:
                name, folders = self._above.pop()
                self._move("..")
                with suppress(OSError):
                    os.rmdir(name, dir_fd=self._fd)
            else:
                return

    def _unlink(self, folders: list[str]) -> Iterator[None]:
        """Remove what is not a directory, and empty directories; collect the others."""
        done = 0
        for name in os.listdir(self._fd):
            done += 1
            if done % _PORTION == 0:
                yield
            try:
                os.unlink(name, dir_fd=self._fd)
            except IsADirectoryError:
                if not self._is_removed(name):
                    folders.append(name)
            except OSError:
                continue

    def _is_removed(self, name: str) -> bool:
        try:
            os.rmdir(name, dir_fd=self._fd)
        except OSError:
            return False
        return True

    def _enter(self, name: str) -> bool:
        """Go into a directory, whatever its mode; False if that cannot be."""
        try:
            self._move(name)
        except PermissionError:
            with suppress(OSError):
                os.chmod(name, 0o700, dir_fd=self._fd)
                self._move(name)
                return True
            return False
        except OSError:
            return False
        with suppress(OSError):
            os.fchmod(self._fd, 0o700)
        return True

    def _move(self, name: str) -> None:
        there = os.open(name, _OPEN, dir_fd=self._fd)
        os.close(self._fd)
        self._fd = there
