"""Directories that hold the work directories of one zygote's children, and the sweep of old ones.

A lock says that one is in use: the kernel lets go of it with the supervisor, however that ends.
What nobody holds is removed at the next start. A change must keep: nothing is removed that is
locked, or another user's.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from toril.sandbox.workplace import remove

PREFIX = "toril-work-"


def make() -> tuple[str, int]:
    """A directory for this user only, and a descriptor that holds the lock on it.

    Source: tmpfiles.d(5): what is locked with flock(2) is not removed when it is old.

    Raises:
        OSError: it cannot be made.
    """
    while True:
        path = tempfile.mkdtemp(prefix=PREFIX)
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_SH)
        if os.fstat(lock).st_nlink:
            return path, lock
        os.close(lock)  # Another start has swept it before it was locked.


def remove_whole(path: str) -> None:
    """Remove one with all that is in it, however deep; what cannot be removed stays."""
    for _ in remove(path):
        pass


def sweep_beside() -> None:
    """`sweep` in a thread: what was left may be much."""
    threading.Thread(target=sweep, name="toril sweep", daemon=True).start()


def sweep() -> list[str]:
    """Remove those that nobody holds any more; say which.

    They stay when a supervisor and its zygote are killed together.
    """
    swept = []
    for path in sorted(Path(tempfile.gettempdir()).glob(PREFIX + "*")):
        with suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove_whole(str(path))
                    swept.append(str(path))
            finally:
                os.close(lock)
    return swept
