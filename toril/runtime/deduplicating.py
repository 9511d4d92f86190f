"""Releasing a deduplication id before its time: the command, and programs that are methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toril.errors import InvalidInput
from toril.runtime.command import REAL_TIME, Command
from toril.runtime.dialog import call, plain
from toril.runtime.keys import is_job_id

if TYPE_CHECKING:
    from toril.runtime.dialog import Program


def remove_deduplication(
    base: str, deduplication_id: str | bytes, owner: str = ""
) -> Command[bool]:
    """Release an id; only if this job owns it, when one is given."""
    args = (REAL_TIME, deduplication_id, owner)
    return Command("remove_deduplication", (base,), args, lambda reply: reply == b"done")


def remove_deduplication_key(base: str, deduplication_id: str) -> Program[bool]:
    """Let the next job with this deduplication id be added; False if it was free.

    Raises:
        InvalidInput: no text.
    """
    if not isinstance(deduplication_id, str) or not deduplication_id:
        raise InvalidInput(f"deduplication id is {deduplication_id!r}; expected text")
    return (yield from call(remove_deduplication(base, deduplication_id)))


def remove_own_deduplication_key(base: str, job_id: str) -> Program[bool]:
    """Let a job like this one be added; False if this one does not stand in its way."""
    if not is_job_id(job_id):
        return False
    (found,) = yield from plain(("HGET", f"{base}{job_id}", "deid"))
    if found is None:
        return False
    return (yield from call(remove_deduplication(base, found, job_id)))
