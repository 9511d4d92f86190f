"""What ties a new job to others: its deduplication and its parent, as callers say it; pure.

What is stored is what Node's `queue.add` would have stored for the same options.
"""

from __future__ import annotations

import json
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from toril.errors import InvalidOption
from toril.units import duration_ms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

CHILD_FLAGS = {
    "fail_parent_on_failure": "fpof",
    "continue_parent_on_failure": "cpof",
    "ignore_dependency_on_failure": "idof",
    "remove_dependency_on_failure": "rdof",
}
"""Options that say what a child's failure means for its parent, and how they are stored."""


@dataclass(frozen=True, slots=True)
class Deduplication:
    """One job for one id: while it is there, others with the id are not added.

    Without anything else the id is taken until its job ends (simple); with a `ttl` for that time,
    whatever becomes of the job (throttle). Debounce is `delay` with `ttl`, `extend` and `replace`.

    Attributes:
        id: what makes two jobs the same.
        ttl: how long the id is taken, `"10s"` or a timedelta.
        extend: every job that is turned away begins the time anew.
        replace: a job takes the place of one that is still delayed.
        keep_last_if_active: the newest job that comes while its like runs is added when that ends.
        reschedule: a job that is turned away gives its delay to the one that is still delayed.
    """

    id: str
    _: KW_ONLY
    ttl: str | timedelta | None = None
    extend: bool = False
    replace: bool = False
    keep_last_if_active: bool = False
    reschedule: bool = False

    def as_stored(self) -> dict[str, Any]:
        """The object that goes into `opts.de`.

        Raises:
            InvalidOption: no id, no duration, or no boolean.
        """
        flags = {
            "extend": self.extend,
            "replace": self.replace,
            "keepLastIfActive": self.keep_last_if_active,
            "reschedule": self.reschedule,
        }
        for name, flag in flags.items():
            if not isinstance(flag, bool):
                raise InvalidOption(f"deduplication: {name} is {flag!r}; expected True or False")
        stored: dict[str, Any] = {"id": _text("deduplication: id", self.id)}
        if self.ttl is not None:
            stored["ttl"] = duration_ms(self.ttl, "deduplication: ttl")
        return stored | {name: True for name, flag in flags.items() if flag}


@dataclass(frozen=True, slots=True)
class Parent:
    """A job that waits for the one that is added.

    Attributes:
        id: its id.
        queue: its queue with the prefix, such as `bull:reports`.
    """

    id: str
    queue: str

    @property
    def key(self) -> str:
        """The full key of the job."""
        return f"{self.queue}:{self.id}"

    def as_stored(self) -> dict[str, str]:
        """The object that goes into `opts.parent`.

        Raises:
            InvalidOption: no id, or a queue without its prefix.
        """
        job_id, queue = _text("parent: id", self.id), _text("parent: queue", self.queue)
        if ":" in job_id:
            raise InvalidOption(
                f"parent: id is {job_id!r}; jobs with ':' in their ids cannot have children"
            )
        prefix, _, name = queue.rpartition(":")
        if not prefix or not name:
            raise InvalidOption(
                f"parent: queue is {queue!r}; expected it with its prefix, such as 'bull:reports'"
            )
        return {"id": job_id, "queue": queue}

    def as_field(self, opts: Mapping[str, Any]) -> bytes:
        """The field `parent` of the child, with what its options say of its failure."""
        flags = {flag: True for flag in CHILD_FLAGS.values() if opts.get(flag)}
        field = {"id": self.id, "queueKey": self.queue} | flags
        return json.dumps(field, ensure_ascii=False, separators=(",", ":")).encode()


def stored_ties(
    deduplication: Deduplication | None, parent: Parent | None, flags: Mapping[str, bool | None]
) -> dict[str, Any]:
    """The stored options of a job's ties.

    Args:
        deduplication: as the caller gave it.
        parent: likewise.
        flags: options of `CHILD_FLAGS` → value.

    Raises:
        InvalidOption: one is of the wrong kind, or two exclude each other.
    """
    if deduplication is not None and not isinstance(deduplication, Deduplication):
        raise InvalidOption(
            f"deduplication is {deduplication!r}; expected Deduplication('id', ttl='10s')"
        )
    if parent is not None and not isinstance(parent, Parent):
        raise InvalidOption(f"parent is {parent!r}; expected Parent('id', 'bull:queue')")
    if deduplication is not None and parent is not None:
        raise InvalidOption("deduplication and parent exclude each other; give one of them")
    given = {
        "de": None if deduplication is None else deduplication.as_stored(),
        "parent": None if parent is None else parent.as_stored(),
    }
    return {name: value for name, value in given.items() if value is not None} | _flags(flags)


def _flags(flags: Mapping[str, bool | None]) -> dict[str, bool]:
    for name, value in flags.items():
        if value is not None and not isinstance(value, bool):
            raise InvalidOption(f"{name} is {value!r}; expected True or False")
    wanted = [name for name, value in flags.items() if value]
    if len(wanted) > 1:
        raise InvalidOption(f"{' and '.join(wanted)} exclude each other; give one of them")
    return {CHILD_FLAGS[name]: value for name, value in flags.items() if value is not None}


def _text(what: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidOption(f"{what} is {value!r}; expected text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidOption(f"{what} is {value!r}; it holds a lone surrogate") from None
    return value
