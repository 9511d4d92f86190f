"""A job's children as a whole: listing them by page, and no longer waiting for them; programs.

`children.py` reads what a running job wants of its children; here is what an operator does. Keys
are full ones, `prefix:queue:id`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, assert_never

from toril.errors import InvalidJobData, InvalidOption, JobGone, JobNotRemovable
from toril.runtime.command import REAL_TIME, Command
from toril.runtime.dialog import Program, plain
from toril.runtime.keys import is_job_id
from toril.runtime.numbers import whole
from toril.runtime.once import UNNAMED, Request, once

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    Kind = Literal["processed", "unprocessed", "ignored", "failed"]

KINDS: tuple[Kind, ...] = ("processed", "unprocessed", "ignored", "failed")
"""BullMQ's words for how a child stands to its parent, in the order of its answers."""

MAX_DESCENDANTS = 10_000
"""Most jobs below one that a removal takes; given by the script, chosen there."""

_GONE, _TOO_MANY = -1, -2


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Children of a job, by how they stand to it.

    Attributes:
        processed: return values of those that have completed.
        unprocessed: those that the job still waits for.
        ignored: why those failed whose failure does not count.
        failed: those that have failed the job.
        next: where to go on, of the kinds of which there is more.
    """

    processed: dict[str, Any] = field(default_factory=dict)
    unprocessed: list[str] = field(default_factory=list)
    ignored: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    next: dict[Kind, int] = field(default_factory=dict)


def untie(base: str, job_id: str, request: Request = UNNAMED) -> Command[str]:
    """Have the parent of a job wait for it no more."""
    return Command("remove_child_dependency", (base,), (REAL_TIME, *request, job_id), bytes.decode)


def remove_unprocessed(base: str, job_id: str, request: Request = UNNAMED) -> Command[int]:
    """Remove the children that a job waits for; how many, or a negative number for a refusal."""
    return Command("remove_unprocessed", (base,), (REAL_TIME, *request, job_id), int)


def get_dependencies(
    base: str,
    job_id: str,
    cursors: Mapping[Kind, int] | None = None,
    *,
    count: int | None = None,
) -> Program[Dependencies]:
    """The children of a job, all at once or by page.

    With a `count` about as many of each kind are read, and `next` says where to go on:
    `job.get_dependencies(page.next, count=100)` until it is empty. A child that ends meanwhile may
    be seen twice.

    Args:
        base: `P:Q:`.
        job_id: the parent.
        cursors: kinds that are wanted, and where each is to go on; all from the start unless given.
        count: about how many of each kind; all unless given.

    Raises:
        InvalidOption: no such kind or number.
        InvalidJobData: a child's return value is no JSON.
    """
    wanted = dict.fromkeys(KINDS, 0) if cursors is None else dict(cursors)
    for kind, cursor in wanted.items():
        if kind not in KINDS:
            raise InvalidOption(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
        whole(f"cursor of {kind}", cursor, 0, 2**64)
    if count is not None:
        whole("count", count)
    if not is_job_id(job_id) or not wanted:
        return Dependencies()
    packets = [_read(base + job_id, kind, at, count) for kind, at in wanted.items()]
    replies = yield from plain(*packets)
    found: dict[str, Any] = {}
    following: dict[Kind, int] = {}
    for (kind, at), reply in zip(wanted.items(), replies, strict=True):
        entries, after = _page(kind, at, count, reply)
        found[kind] = _said(kind, entries)
        if after:
            following[kind] = after
    return Dependencies(**found, next=following)


def get_dependencies_count(base: str, job_id: str) -> Program[dict[Kind, int]]:
    """How many children of a job there are of each kind."""
    if not is_job_id(job_id):
        return dict.fromkeys(KINDS, 0)
    key = base + job_id
    counts = yield from plain(
        ("HLEN", f"{key}:processed"),
        ("SCARD", f"{key}:dependencies"),
        ("HLEN", f"{key}:failed"),
        ("ZCARD", f"{key}:unsuccessful"),
    )
    return dict(zip(KINDS, counts, strict=True))


def remove_child_dependency(base: str, job_id: str) -> Program[bool]:
    """Have the job's parent wait for it no more; False if none did.

    A parent that waited for nothing else becomes runnable. The job itself stays.

    Raises:
        JobGone: there is no such job.
    """
    word = (yield from once(partial(untie, base, job_id))) if is_job_id(job_id) else "gone"
    if word == "gone":
        raise JobGone(job_id)
    return word == "done"


def remove_unprocessed_children(base: str, job_id: str) -> Program[int]:
    """Remove the children that the job still waits for, and theirs; how many jobs went.

    Those that are being processed stay, and those that have failed.

    Raises:
        JobGone: there is no such job.
        JobNotRemovable: they are too many.
    """
    removed = _GONE
    if is_job_id(job_id):
        removed = yield from once(partial(remove_unprocessed, base, job_id))
    if removed == _GONE:
        raise JobGone(job_id)
    if removed == _TOO_MANY:
        raise JobNotRemovable(job_id, f"it has more than {MAX_DESCENDANTS} unprocessed descendants")
    return removed


def _read(key: str, kind: Kind, cursor: int, count: int | None) -> tuple[str | int, ...]:
    match kind:
        case "processed":
            name, scan, whole_of = "processed", "HSCAN", "HGETALL"
        case "unprocessed":
            name, scan, whole_of = "dependencies", "SSCAN", "SMEMBERS"
        case "ignored":
            name, scan, whole_of = "failed", "HSCAN", "HGETALL"
        case "failed":
            last = -1 if count is None else cursor + count - 1
            return ("ZRANGE", f"{key}:unsuccessful", cursor, last)
        case _:
            assert_never(kind)
    if count is None and cursor == 0:
        return (whole_of, f"{key}:{name}")
    return (scan, f"{key}:{name}", cursor, *(("COUNT", count) if count else ()))


def _page(kind: Kind, cursor: int, count: int | None, reply: Any) -> tuple[Sequence[bytes], int]:
    """The entries of a reply, and where to go on; 0 at the end."""
    if kind == "failed":
        is_full = count is not None and len(reply) == count
        return reply, cursor + len(reply) if is_full else 0
    if count is None and cursor == 0:
        return _flat(reply), 0
    after, entries = reply
    return _flat(entries), int(after)


def _flat(reply: Any) -> Sequence[bytes]:
    return [one for pair in reply.items() for one in pair] if isinstance(reply, dict) else reply


def _said(kind: Kind, entries: Sequence[bytes]) -> Any:
    texts = [one.decode(errors="replace") for one in entries]
    match kind:
        case "processed":
            return {key: _decoded(key, text) for key, text in _pairs(texts)}
        case "ignored":
            return dict(_pairs(texts))
    return texts


def _pairs(texts: list[str]) -> list[tuple[str, str]]:
    return list(zip(texts[::2], texts[1::2], strict=True))


def _decoded(key: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidJobData(f"what child {key} returned is not JSON: {error}") from None
