"""Running the arena as somebody: as root, or as an ordinary user who can read nothing of ours.

An ordinary user is this process's own where that is one. As root it is a number nobody has; where
the checkout or the environment cannot be read by him, he gets a copy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.process.harness import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STRANGER = 58_741
"""A user id that nobody has; chosen: above what systems give out, below `nobody`."""


@dataclass(frozen=True)
class Place:
    """Where somebody finds the code.

    Attributes:
        python: the interpreter of the environment.
        root: the checkout.
        home: a directory of his own.
    """

    python: str
    root: Path
    home: Path


def who_can_be() -> list[str]:
    """The users that this process can be."""
    return ["ordinary", "root"] if os.getuid() == 0 else ["ordinary"]


def uid_of(who: str) -> int:
    """The number of a user."""
    if who == "root":
        return 0
    return STRANGER if os.getuid() == 0 else os.getuid()


def run_as(
    who: str, place: Place, command: Sequence[str], *, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a module of ours to its end; what it needs of the environment and no more."""
    uid = uid_of(who)
    changes = {"user": uid, "group": uid, "extra_groups": []} if os.getuid() == 0 and uid else {}
    return subprocess.run(
        [place.python, "-m", *command],
        cwd=place.root,
        env={"PATH": os.environ["PATH"], "HOME": str(place.home), "TMPDIR": str(place.home)}
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
    with tempfile.TemporaryDirectory(prefix="toril-hostile-") as folder:
        yield _prepared(who, Path(folder))


def _prepared(who: str, folder: Path) -> Place:
    home, uid = folder / "home", uid_of(who)
    home.mkdir()
    for path in (folder, home):
        path.chmod(0o755)
    if os.getuid() == 0:
        os.chown(home, uid, uid)
    ours = Place(sys.executable, ROOT, home)
    if _can_work(who, ours):
        return ours
    copied = _copied(folder)
    return Place(str(copied / "venv" / "bin" / "python"), copied / "tree", home)


def _can_work(who: str, place: Place) -> bool:
    try:
        return run_as(who, place, ["tests.hostile.arena", "none"]).returncode == 0
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
