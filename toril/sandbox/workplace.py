"""Work directories: one per walled child, empty when it is forked and gone with it.

What a job leaves in one may be large, deep, or made to be hard to remove. It is removed in small
portions by whoever cannot wait, without following links and without ever building a long path.
"""

# ruff: noqa: PTH102, PTH106, PTH118 - no pathlib where children are made

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toril.sandbox import landlock, work_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toril.sandbox.landlock import Grant
    from toril.sandbox.wall import Files

_DONE = object()


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where one child works.

    Attributes:
        path: its directory, for this user only.
        rules_fd: a Landlock rule set in which that is writable; None without Landlock.
    """

    path: str
    rules_fd: int | None


class Workplaces:
    """Makes them one ahead, so that no fork waits for it, and removes them behind.

    Args:
        root: directory that holds them.
        files: what Landlock is told of every child; None without Landlock.
        inside: the path that a work directory has in a root of the child's own, which the child
            makes and whose rule it adds; empty: they lie in `root`.
    """

    def __init__(self, root: str, files: Files | None, inside: str = "") -> None:
        self._inside = inside
        self._root = root
        self._files = files
        self._made = 0
        self._spare: Workplace | None = None
        self._removals: deque[Iterator[None]] = deque()

    @property
    def has_work(self) -> bool:
        """Something is still to be removed."""
        return bool(self._removals)

    def take(self) -> Workplace:
        """One that nobody has used.

        Raises:
            OSError: it cannot be made.
        """
        place, self._spare = self._spare or self._make(), None
        return place

    def put_back(self, place: Workplace) -> None:
        """It was not used after all."""
        self._spare = place

    def prepare(self) -> None:
        """Make the next one now; a failure is the next `take`'s to report."""
        if self._spare is None:
            with suppress(OSError):
                self._spare = self._make()

    def clear_away(self, path: str) -> None:
        """Begin to remove a work directory."""
        self._removals.append(remove(path))

    def remove_for(self, seconds: float) -> None:
        """Go on with removing."""
        end = time.monotonic() + seconds
        while self._removals and time.monotonic() < end:
            if next(self._removals[0], _DONE) is _DONE:
                self._removals.popleft()

    def close(self, seconds: float) -> None:
        """Remove what is left, as far as the time goes, and with the last of it the root."""
        if self._spare is not None and not self._inside:
            self.clear_away(self._spare.path)
        self.remove_for(seconds)
        with suppress(OSError):
            os.rmdir(self._root)

    def _make(self) -> Workplace:
        if self._inside:
            return Workplace(self._inside, self._rules())
        self._made += 1
        path = os.path.join(self._root, str(self._made))
        os.mkdir(path, 0o700)
        work_directory.date_back(path)
        own = landlock.grant(path, landlock.WRITE)
        try:
            return Workplace(path, self._rules(own))
        finally:
            os.close(own.fd)

    def _rules(self, *own: Grant) -> int | None:
        if self._files is None:
            return None
        return landlock.make_ruleset(self._files.rights, (*self._files.grants, *own))


def remove(path: str) -> Iterator[None]:
    """Remove a directory and everything below it, a portion at a time."""
    yield from work_directory.empty(path)
    with suppress(OSError):
        os.rmdir(path)
