"""The unit files that come with toril, made fit for one installation: what goes where.

Nothing here writes. A change must keep: a unit differs from the shipped text in the command only,
so that what is reviewed there is what runs.
"""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import toril
from toril.errors import InvalidOption

NEW_KEYS_SINCE = 254
"""The version from which systemd knows what the drop-in says; given: systemd's NEWS."""

UNIT = "toril@.service"
HARDENED = "20-hardened.conf"

_SHIPPED_COMMAND = "/usr/bin/toril"
_NEW_KEYS = "10-systemd-254.conf"
_NAME = re.compile(r"[A-Za-z0-9:_.\-]+")
_UNSEEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - names, nothing is made
"""What ProtectHome= and PrivateTmp= take away from a service."""
_OTHERS_READ_AND_ENTER = 0o005


@dataclass(frozen=True, slots=True)
class UnitFile:
    """A file and what it has to say."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class Target:
    """Whose units, and where they go.

    Attributes:
        version: of systemd; None where it is not known.
        names: instances; the hardened drop-in is theirs alone if there are any.
        is_hardened: whether the hardened drop-in is wanted.
        is_user: units of a user's own manager.
        root: stands for `/`, as in an image that is being made.
        config_home: of the user, as XDG has it.
    """

    version: int | None
    names: tuple[str, ...] = ()
    is_hardened: bool = False
    is_user: bool = False
    root: Path = Path("/")
    config_home: Path = Path()

    @property
    def directory(self) -> Path:
        """Where units of the administrator, or the user, lie. Source: systemd.unit(5)."""
        system = self.root / "etc/systemd/system"
        return self.config_home / "systemd/user" if self.is_user else system

    @property
    def configurations(self) -> Path:
        """Where an instance looks for its configuration."""
        return self.config_home / "toril" if self.is_user else self.root / "etc/toril"

    @property
    def knows_new_keys(self) -> bool:
        """Is the drop-in for newer versions of use?"""
        return self.version is not None and self.version >= NEW_KEYS_SINCE


def files(target: Target) -> list[UnitFile]:
    """All that an installation consists of.

    Raises:
        InvalidOption: an instance cannot be called that.
    """
    for name in target.names:
        if not _NAME.fullmatch(name):
            raise InvalidOption(f"NAME is {name!r}; expected letters, digits and any of : _ . -")
    unit = _shipped(f"user/{UNIT}" if target.is_user else UNIT)
    found = [UnitFile(target.directory / UNIT, unit.replace(_SHIPPED_COMMAND, command()))]
    if target.knows_new_keys:
        found.append(UnitFile(_new_keys(target), _shipped(f"{UNIT}.d/{_NEW_KEYS}")))
    if target.is_user:
        return found
    found.append(UnitFile(target.directory / "toril.target", _shipped("toril.target")))
    found.append(UnitFile(target.root / "etc/tmpfiles.d/toril.conf", _shipped("tmpfiles.conf")))
    if target.is_hardened:
        units = [f"toril@{name}.service" for name in target.names] or [UNIT]
        text = _shipped("hardened.conf")
        found += [UnitFile(target.directory / f"{unit}.d" / HARDENED, text) for unit in units]
    return found


def out_of_date(target: Target) -> list[Path]:
    """What an earlier installation may have left that this systemd does not understand."""
    return [] if target.knows_new_keys else [_new_keys(target)]


def command() -> str:
    """How this very toril is started, as ExecStart= wants it written."""
    script = Path(sys.executable).with_name("toril")
    if script.is_file():
        return _quoted(str(script))
    # Without -P whatever lies in the working directory could stand in for a library.
    return f"{_quoted(sys.executable)} -P -m toril"


def unseen() -> dict[Path, str]:
    """Which parts of this toril a service of the system could not use, and why."""
    found = {}
    for path in (Path(sys.prefix), Path(sys.base_prefix), Path(toril.__file__).parent):
        if any(path.is_relative_to(place) for place in _UNSEEN):
            found[path] = "services do not see it (ProtectHome=, PrivateTmp=)"
        elif closed := [one for one in (path, *path.parents) if not _is_open(one)]:
            found[path] = f"others may not read {closed[0]}, and the service has a user of its own"
    return found


def version_in(said: str) -> int | None:
    """The version in what `systemctl --version` says: `systemd 252 (252.38-1~deb12u1)`."""
    found = re.match(r"systemd (\d+)", said)
    return int(found[1]) if found else None


def _new_keys(target: Target) -> Path:
    return target.directory / f"{UNIT}.d" / _NEW_KEYS


def _shipped(name: str) -> str:
    """A text: of the installed package, or of the checkout that an editable install points to."""
    package = Path(toril.__file__).parent
    installed = package / "systemd_units"
    directory = installed if installed.is_dir() else package.parent / "systemd"
    return (directory / name).read_text(encoding="utf-8")


def _quoted(path: str) -> str:
    """A word of ExecStart=, in which `%` and `$` mean something. Source: systemd.service(5)."""
    path = path.replace("%", "%%").replace("$", "$$")
    return path if shlex.quote(path.replace("%", "")) == path.replace("%", "") else f'"{path}"'


def _is_open(directory: Path) -> bool:
    mode = directory.stat().st_mode
    return mode & _OTHERS_READ_AND_ENTER == _OTHERS_READ_AND_ENTER
