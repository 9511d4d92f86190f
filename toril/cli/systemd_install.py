"""Writes units: each whole or not at all, none that is there already, and says what comes next."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from toril.supervisor.service.units import NEW_KEYS_SINCE, files, out_of_date, unseen

if TYPE_CHECKING:
    from toril.supervisor.service.units import Target, UnitFile

_MODE = 0o644

Done = list[tuple[str, Path]]
"""(what was done, to which file)."""


def install(target: Target, *, is_dry: bool, as_json: bool) -> int:
    """Write what is missing or different; returns a sysexits code.

    Raises:
        InvalidOption: an instance cannot be called that.
    """
    wanted = files(target)
    if target.root == Path("/") and not target.is_user and (hidden := unseen()):
        for path, reason in hidden.items():
            sys.stderr.write(f"toril systemd: {path}: {reason}\n")
        sys.stderr.write(
            "toril systemd: nothing was written; install toril where services can use it, such as "
            "a virtual environment in /opt/toril, or use --user\n"
        )
        return os.EX_CONFIG
    try:
        done = [(_put(one, is_dry=is_dry), one.path) for one in wanted]
        done += [("removed", path) for path in out_of_date(target) if _remove(path, is_dry=is_dry)]
    except OSError as error:
        remedy = "" if target.is_user else "; be root, or use --user for units of your own"
        sys.stderr.write(f"toril systemd: {error.filename}: {error.strerror}{remedy}\n")
        return os.EX_CANTCREAT
    _tell(target, done, is_dry=is_dry, as_json=as_json)
    return os.EX_OK


def next_steps(target: Target, done: Done) -> list[str]:
    """Commands that make of the files a service; a remark follows `#`."""
    systemctl = "systemctl --user" if target.is_user else "systemctl"
    steps = [f"{systemctl} daemon-reload"]
    if target.is_user:
        steps.append(f"mkdir -p {target.configurations}")
        steps.append("loginctl enable-linger    # or they end when you log out")
    else:
        steps.append("systemd-tmpfiles --create toril.conf")
        steps.append("systemctl enable toril.target    # start them with the machine")
    for name in target.names or ("NAME",):
        path = target.configurations / f"{name}.toml"
        is_missing = " (not there yet)" if target.names and not path.exists() else ""
        steps.append(f"{systemctl} enable --now toril@{name}    # works {path}{is_missing}")
    if any(word in {"updated", "removed"} for word, _ in done):
        steps.append(f"{systemctl} try-restart 'toril@*'    # what runs is still as it was started")
    return steps


def _tell(target: Target, done: Done, *, is_dry: bool, as_json: bool) -> None:
    steps = next_steps(target, done)
    if as_json:
        told = {
            "systemd": target.version,
            "dry_run": is_dry,
            "files": [{"path": str(path), "done": word} for word, path in done],
            "next": steps,
        }
        sys.stdout.write(json.dumps(told) + "\n")
        return
    for word, path in done:
        sys.stdout.write(f"{'would be ' if is_dry else ''}{word:<9} {path}\n")
    if not target.knows_new_keys:
        found = f"systemd is {target.version}" if target.version else "no systemctl was found"
        sys.stdout.write(f"{found}: without the drop-in for {NEW_KEYS_SINCE} and later\n")
    sys.stdout.write("\nnext:\n" + "".join(f"  {step}\n" for step in steps))


def _put(one: UnitFile, *, is_dry: bool) -> str:
    """Make the file say that; returns what was to be done."""
    word = "written"
    with suppress(FileNotFoundError):
        if one.path.read_text(encoding="utf-8", errors="replace") == one.text:
            return "unchanged"
        word = "updated"
    if not is_dry:
        _write_whole(one)
    return word


def _write_whole(one: UnitFile) -> None:
    """Never half: systemd may read it at any time."""
    one.path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix=f".{one.path.name}.", dir=one.path.parent)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            os.fchmod(fd, _MODE)
            file.write(one.text)
            file.flush()
            os.fsync(fd)
        Path(name).replace(one.path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _remove(path: Path, *, is_dry: bool) -> bool:
    is_there = path.exists()
    if is_there and not is_dry:
        path.unlink()
    return is_there
