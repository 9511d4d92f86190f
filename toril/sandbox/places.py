"""Where children live: each has a work directory, a control group and a user that no other has.

Places are numbered for as long as a child lives, not by slot: a child and its successor share a
slot for a while, and must share nothing else.
"""

# ruff: noqa: PTH101, PTH120 - no pathlib where children are made

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toril.errors import SandboxUnavailable
from toril.sandbox.cgroup import Power, Slot, limits_of
from toril.sandbox.levels import RESTRICTED, STRICT, WALLED
from toril.sandbox.limits import PROCESSES
from toril.sandbox.throwaway import tried
from toril.sandbox.users import Users, base_of, become, out_of_reach
from toril.sandbox.workplace import Workplace, Workplaces

if TYPE_CHECKING:
    from toril.sandbox.cgroup import Home
    from toril.sandbox.limits import Limits
    from toril.sandbox.wall import Files, Wants

INSIDE = "/job"
"""Where a `strict` child has its work directory, in a root of its own."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one child lives.

    Attributes:
        number: tells it from every other living child of its zygote.
        uid: whom it runs as; None: as the zygote.
        entrance: the file through which it enters its control group; empty without one.
        workplace: its work directory; None at `process`.
    """

    number: int
    uid: int | None = None
    entrance: str = ""
    workplace: Workplace | None = None

    @property
    def rules_fd(self) -> int | None:
        """Its Landlock rule set, if it has one."""
        return None if self.workplace is None else self.workplace.rules_fd

    @property
    def on_disk(self) -> str:
        """Its work directory if it is one of the host's; empty: it is memory, or there is none."""
        path = "" if self.workplace is None else self.workplace.path
        return "" if path == INSIDE else path


class Places:
    """Hands them out in a zygote, the smallest free number first, so that few are ever made.

    Args:
        wants: what is asked of the wall.
        limits: what each child may use.
        home: where control groups of children are made, if they can be.
        files: what Landlock is told of every child; None without Landlock.

    Raises:
        SandboxUnavailable: there are no users for children here.
    """

    def __init__(
        self, wants: Wants, limits: Limits, home: Home | None, files: Files | None
    ) -> None:
        has_users = os.geteuid() == 0 and wants.level in WALLED and "uid" not in wants.waive
        self._users = Users(base_of(wants.child_uid)) if has_users else None
        self._home = home if _is_of_use(home, wants) else None
        self._wanted: dict[str, str] = {}
        if home is not None and home.power is Power.LIMITS:
            tmp_bytes = wants.allow.tmp_size_bytes if wants.level in STRICT else 0
            self._wanted = limits_of(limits, PROCESSES, tmp_bytes)
        self._workplaces: Workplaces | None = None
        if wants.level in WALLED:
            inside = INSIDE if wants.level in STRICT else ""
            self._workplaces = Workplaces(wants.work_root, files, inside)
        if self._users is not None:
            # Others have to pass it on the way to their own directory; nobody may list it.
            os.chmod(wants.work_root, 0o711)  # noqa: S103 - see above
        self._slots: dict[int, Slot] = {}
        self._taken: set[int] = set()

    def take(self) -> Place:
        """A place for one more child.

        Raises:
            SandboxUnavailable: no user is left, or its group cannot be made.
            OSError: its work directory cannot be made.
        """
        number = next(n for n in range(1, len(self._taken) + 2) if n not in self._taken)
        entrance = self._entrance(number)
        uid = None if self._users is None else self._users.take()
        self._taken.add(number)
        try:
            workplace = self._workplace(uid)
        except OSError:
            self.give_back(Place(number, uid))
            raise
        return Place(number, uid, entrance, workplace)

    def check_reach(self, place: Place, wants: Wants) -> None:
        """Refuse to go on if the users of children cannot get at what they need.

        Raises:
            SandboxUnavailable: it names the path and the remedy.
        """
        uid = place.uid
        if uid is None:
            return
        needed = [os.path.dirname(os.__file__), *wants.python_path[:1], *wants.allow.read]
        if place.on_disk:
            needed.append(place.on_disk)

        def look() -> str:
            become(uid)
            return out_of_reach(needed, wants.allow.write)

        if words := tried(look):
            what, _, remedy = words.partition("\n")
            raise SandboxUnavailable(
                f"toril runs as root and its children as users of their own (now {uid}), who have "
                f"no access to {what}",
                f"{remedy}, keep the code where others can read it, such as "
                "/srv, start toril as an ordinary user, or let children be root in writing "
                "(--waive uid)",
            )

    def occupied(self, place: Place) -> None:
        """The child has it; the next one is made while it starts."""
        if place.rules_fd is not None:
            os.close(place.rules_fd)
        if self._workplaces is not None:
            self._workplaces.prepare()

    def kill(self, place: Place) -> None:
        """End what is left of a child's processes, all at once where that can be done."""
        if slot := self._slots.get(place.number):
            slot.kill()

    def was_out_of_memory(self, place: Place) -> bool:
        """Whether the kernel has killed the child for its memory."""
        slot = self._slots.get(place.number)
        return slot is not None and slot.was_out_of_memory()

    def give_back(self, place: Place) -> None:
        """Its child is gone, with everything that it started; what it left is removed later."""
        self._taken.discard(place.number)
        if self._users is not None and place.uid is not None:
            self._users.give_back(place.uid)
        if self._workplaces is not None and place.on_disk:
            self._workplaces.clear_away(place.on_disk)

    @property
    def has_work(self) -> bool:
        """Something is still to be removed."""
        return self._workplaces is not None and self._workplaces.has_work

    def work_for(self, seconds: float) -> None:
        """Go on with removing."""
        if self._workplaces is not None:
            self._workplaces.remove_for(seconds)

    def close(self, seconds: float) -> None:
        """No more children; what they left is removed as far as the time goes."""
        for slot in self._slots.values():
            slot.remove()
        if self._workplaces is not None:
            self._workplaces.close(seconds)

    def _workplace(self, uid: int | None) -> Workplace | None:
        if self._workplaces is None:
            return None
        found = self._workplaces.take()
        if uid is not None and found.path != INSIDE:
            # Whoever tidies up may have been here: then the child's own step says so.
            with suppress(FileNotFoundError):
                os.chown(found.path, uid, uid)
        return found

    def _entrance(self, number: int) -> str:
        if self._home is None:
            return ""
        slot = self._slots.setdefault(number, Slot(self._home, number))
        try:
            slot.prepare(self._wanted)
        except OSError as error:
            raise SandboxUnavailable(
                f"no control group can be made for a child: {error}",
                "Look at who else writes below the group of this service",
            ) from None
        return slot.entrance


def _is_of_use(home: Home | None, wants: Wants) -> bool:
    """A group that can only be killed is, where a tree can grow.

    Nothing is started at `restricted` unless it is allowed, and a pid namespace ends with its first
    process; at `process` the sweep does. The way into a group is not free.
    """
    if home is None or home.power is Power.LIMITS:
        return home is not None
    return wants.level in RESTRICTED and wants.allow.exec
