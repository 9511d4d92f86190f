"""Running the arena as somebody: as root, or as an ordinary user who can read nothing of ours.

An ordinary user is this process's own where that is one. As root it is a number nobody has, another
one for each run at the same time: the arena takes whatever else runs as its user for what an attack
left, and the kernel counts processes by user. Where the checkout or the environment cannot be read
by him, he gets a copy.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.hostile.canaries import OWNED, is_anybody
from tests.process.harness import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STRANGERS = range(58_741, 58_741 + 64)
"""User ids that nobody has; chosen: above what systems give out, below `nobody`."""


@dataclass(frozen=True)
class Place:
    """Where somebody finds the code.

    Attributes:
        uid: who it is.
        python: the interpreter of the environment.
        root: the checkout.
        home: a directory of his own.
    """

    uid: int
    python: str
    root: Path
    home: Path


def who_can_be() -> list[str]:
    """The users that this process can be."""
    return ["ordinary", "root"] if os.getuid() == 0 else ["ordinary"]


def run_as(
    place: Place, command: Sequence[str], *, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a module of ours to its end; what it needs of the environment and no more."""
    uid, home = place.uid, str(place.home)
    changes = {"user": uid, "group": uid, "extra_groups": []} if uid != os.getuid() else {}
    return subprocess.run(
        [place.python, "-m", *command],
        cwd=place.root,
        env={"PATH": os.environ["PATH"], "HOME": home, "TMPDIR": home}
        | ({OWNED: "1"} if changes else {})
        | (env or {}),
        capture_output=True,
        text=True,
        check=False,
        **changes,
    )


@contextmanager
def place_for(who: str) -> Iterator[Place]:
    """A place that this user and his children can work in; removed again.

    Not below pytest's own temporary directories, which nobody else may enter.
    """
    with _user(who) as uid, tempfile.TemporaryDirectory(prefix="toril-hostile-") as folder:
        yield _prepared(uid, Path(folder))


@contextmanager
def _user(who: str) -> Iterator[int]:
    """The number of a user; as a stranger one that is nobody else's meanwhile.

    An abstract socket is the lock. What a run that was killed has left may still have its user, so
    that is looked at, too.
    """
    if who == "root" or os.getuid() != 0:
        yield os.getuid()
        return
    for uid in STRANGERS:
        with socket.socket(socket.AF_UNIX) as lock:
            if _is_taken(lock, uid) or is_anybody(uid):
                continue
            yield uid
            return
    raise RuntimeError(f"all users from {STRANGERS[0]} to {STRANGERS[-1]} are taken")


def _is_taken(lock: socket.socket, uid: int) -> bool:
    try:
        lock.bind(f"\0toril-hostile-{uid}")
    except OSError:
        return True
    return False


def _prepared(uid: int, folder: Path) -> Place:
    home = folder / "home"
    home.mkdir()
    for path in (folder, home):
        path.chmod(0o755)
    if os.getuid() == 0:
        os.chown(home, uid, uid)
    ours = Place(uid, sys.executable, ROOT, home)
    if _can_work(ours):
        return ours
    copied = _copied(folder)
    return Place(uid, str(copied / "venv" / "bin" / "python"), copied / "tree", home)


def _can_work(place: Place) -> bool:
    try:
        return run_as(place, ["tests.hostile.arena", "none"]).returncode == 0
    except PermissionError:
        return False


def _copied(folder: Path) -> Path:
    """The package, its tests and the environment, for everybody to read."""
    copied = folder / "copied"
    tree, venv = copied / "tree", copied / "venv"
    skip = shutil.ignore_patterns("node_modules", "__pycache__")
    for name in ("toril", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=skip)
    shutil.copytree(Path(sys.prefix), venv, symlinks=True, ignore=shutil.ignore_patterns("pip"))
    for link in venv.glob("lib/python*/site-packages/_editable_impl_toril.pth"):
        link.write_text(str(tree))
    for path in [copied, *copied.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    return copied
