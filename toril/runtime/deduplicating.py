"""Deduplication ids: whose one is, and releasing it before its time; programs that are methods."""

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
    return (yield from call(remove_deduplication(base, _checked(deduplication_id))))


def get_deduplication_job_id(base: str, deduplication_id: str) -> Program[str | None]:
    """The id of the job that a deduplication id belongs to; None when it is free.

    Raises:
        InvalidInput: no text.
    """
    key = f"{base}de:{_checked(deduplication_id)}"
    (found,) = yield from plain(("GET", key))
    return None if found is None else found.decode(errors="replace")


def remove_own_deduplication_key(base: str, job_id: str) -> Program[bool]:
    """Let a job like this one be added; False if this one does not stand in its way."""
    if not is_job_id(job_id):
        return False
    (found,) = yield from plain(("HGET", f"{base}{job_id}", "deid"))
    if found is None:
        return False
    return (yield from call(remove_deduplication(base, found, job_id)))


def _checked(deduplication_id: object) -> str:
    if not isinstance(deduplication_id, str) or not deduplication_id:
        raise InvalidInput(f"deduplication id is {deduplication_id!r}; expected text")
    return deduplication_id
