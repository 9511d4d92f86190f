"""What a work directory holds: measured in steps, because a hostile one may hold a million files.

Nothing here follows a link or trusts a name. A change must keep: a file counts at least one block,
so that a count that stops at its limit has looked at a bounded number of files.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK_BYTES = 4096
"""What a file or directory counts at least; given: the block of nearly every file system."""

_UNIT_BYTES = 512
"""Of `st_blocks`; given by stat(2)."""


class UnmeasurableError(Exception):
    """A directory hides what is in it: its words say how."""


def measure(directory: str, limit_bytes: int) -> Iterator[int]:
    """Yield the bytes found so far, after every entry; end when all is seen or over the limit.

    Files that vanish meanwhile are left out; one with two names counts twice.

    Args:
        directory: what to look through.
        limit_bytes: where counting stops.

    Raises:
        UnmeasurableError: a directory in it cannot be listed, or lies too deep to have a path.
    """
    found, waiting = 0, [directory]
    while waiting:
        for entry in _entries(waiting.pop()):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _hidden(error) from None
            found += max(BLOCK_BYTES, status.st_blocks * _UNIT_BYTES)
            if stat.S_ISDIR(status.st_mode):
                waiting.append(entry.path)
            yield found
            if found > limit_bytes:
                return


def _entries(directory: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            yield from entries
    except FileNotFoundError:
        return
    except OSError as error:
        raise _hidden(error) from None


def _hidden(error: OSError) -> UnmeasurableError:
    return UnmeasurableError(f"a directory in it cannot be listed: {error.strerror}")
