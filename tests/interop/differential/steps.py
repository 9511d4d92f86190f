"""What is drawn and what is done: wishes, and the steps that they become on the queues as they are.

A wish names a job by where it stands ("the second failed one"), so that a drawn sequence meets
what it is about, and one that lost some of its wishes still does. A step names it by its id.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.interop.differential.keyspace import Keyspace

QUEUES = ("q", "other")
"""Both queues of a run, under BullMQ's own prefix."""

PLACES = (
    "wait", "prioritized", "delayed", "active", "waiting-children", "completed", "failed",
)  # fmt: skip
SETTLING = {"complete", "fail", "delay", "give_back", "hold", "wait_for_children"}
"""Steps that end an attempt."""
NOBODY = "nobody"
"""The id of no job."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One operation as it is drawn.

    Attributes:
        act: what to do, a name of `wishes.py`.
        queue: where.
        pick: which of the jobs it may concern, counted round.
        anywhere: it concerns any job, not those alone that it is meant for.
        args: what else it takes.
    """

    act: str
    queue: str = "q"
    pick: int = 0
    anywhere: bool = False
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One operation as both sides carry it out; arguments in BullMQ's words.

    Attributes:
        act: a method of both sides.
        queue: where.
        args: what it takes, JSON.
    """

    act: str
    queue: str
    args: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The method of BullMQ, where it is one."""
        return self.args.get("method", self.act)

    def __str__(self) -> str:
        args = {name: value for name, value in self.args.items() if name != "method"}
        name, values = self.name, args.pop("args", args.pop("jobs", []))
        job = f"job {args.pop('id')!r}: " if self.act == "on_job" else ""
        words = [repr(one) for one in values] + [f"{key}={value!r}" for key, value in args.items()]
        return f"{self.queue}: {job}{name}({', '.join(words)})"


@dataclass(frozen=True, slots=True)
class Held:
    """A job that was claimed and not settled yet."""

    token: str
    queue: str
    id: str
    attempts_started: int
    deferred: str | None


@dataclass(frozen=True, slots=True)
class World:
    """The queues before a step.

    Attributes:
        keys: everything that both servers hold.
        held: claims, the oldest first.
        number: of the step, for names that were never used.
        now_ms: the time.
    """

    keys: Keyspace
    held: tuple[Held, ...] = ()
    number: int = 0
    now_ms: int = 0

    def value(self, key: str, default: Any = None) -> Any:
        """What a key holds."""
        entry = self.keys.get(key)
        return default if entry is None else entry.value

    def meta(self, queue: str) -> Mapping[str, str]:
        """The settings of a queue."""
        return self.value(f"bull:{queue}:meta", {})

    def job(self, queue: str, job_id: str) -> Mapping[str, Any]:
        """The hash of a job; empty when it is not there."""
        return self.value(f"bull:{queue}:{job_id}", {})

    def ids(self, queue: str, places: Iterable[str] = PLACES) -> list[str]:
        """The jobs that stand in these lists and sets."""
        return [one for place in places for one in self.value(f"bull:{queue}:{place}", ())]

    def pick(self, wish: Wish, places: Iterable[str]) -> str | None:
        """The job that a wish means; None where there is none that it is meant for."""
        ids = [*self.ids(wish.queue), NOBODY] if wish.anywhere else self.ids(wish.queue, places)
        return ids[wish.pick % len(ids)] if ids else None

    def has_lock(self, held: Held) -> bool:
        """Is the claim's token still in the lock?"""
        return self.value(f"bull:{held.queue}:{held.id}:lock") == held.token

    def may_retake(self, held: Held) -> bool:
        """Is the lock gone, and nobody else has had the job since?"""
        base = f"bull:{held.queue}:"
        return (
            f"{base}{held.id}:lock" not in self.keys
            and held.id in self.value(f"{base}active", ())
            and self.job(held.queue, held.id).get("ats") == str(held.attempts_started)
        )
