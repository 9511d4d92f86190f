"""Work directories: one per walled child, empty when it is forked and gone with it.

What a job leaves in one may be large, deep, or made to be hard to remove. It is removed in small
portions by whoever cannot wait, without following links and without ever building a long path.
"""

# ruff: noqa: PTH102, PTH106, PTH118, PTH208 - no pathlib where children are made

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PORTION = 128


def make(root: str, number: int) -> str:
    """A fresh directory for the child with this number, for this user only."""
    path = os.path.join(root, str(number))
    os.mkdir(path, 0o700)
    return path


def empty(path: str) -> Iterator[None]:
    """Remove everything below a directory, a portion at a time; what cannot be removed stays."""
    with suppress(OSError):
        yield from _Emptying(path).run()


def remove(path: str) -> Iterator[None]:
    """The same, and then the directory itself."""
    yield from empty(path)
    with suppress(OSError):
        os.rmdir(path)


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
