"""Judges units by systemd's own tools: do they parse, and how much is a service exposed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from toril.supervisor.service.units import HARDENED, UNIT, files

if TYPE_CHECKING:
    from toril.supervisor.service.units import Target

EXPOSURE_MAX = 2.7
"""By systemd's measure, 0 to 10; chosen: what namespaces of strict children cost, and no more."""

HARDENED_EXPOSURE_MAX = 1.7
"""Without them; chosen."""

SOME_NAME = "name"
"""The instance that is looked at where none is named."""

_SCORE = re.compile(r"exposure level for \S+: (\d+\.\d+)")
_ANALYZE_S = 60.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be said of one instance.

    Attributes:
        unit: its name.
        is_installed: otherwise it is what `install` would write.
        is_hardened: whether the hardened drop-in applies.
        exposure: 0 to 10; None for units of a user, which the manager cannot wall in.
        exposure_max: the most that it may be.
        faults: what systemd complains of.
    """

    unit: str
    is_installed: bool
    is_hardened: bool
    exposure: float | None
    exposure_max: float
    faults: list[str]

    @property
    def is_well(self) -> bool:
        """Is there nothing to mend?"""
        return not self.faults and (self.exposure is None or self.exposure <= self.exposure_max)


def check(target: Target, *, as_json: bool) -> int:
    """Judge; EX_CONFIG when something is to be mended, EX_UNAVAILABLE without systemd's tools."""
    if shutil.which("systemd-analyze") is None:
        sys.stderr.write("toril systemd: systemd-analyze was not found; it comes with systemd\n")
        return os.EX_UNAVAILABLE
    judgements = judge(target)
    if as_json:
        told = [{**asdict(one), "is_well": one.is_well} for one in judgements]
        sys.stdout.write(json.dumps({"systemd": target.version, "units": told}) + "\n")
    else:
        sys.stdout.writelines(_lines(judgements))
    return os.EX_OK if all(one.is_well for one in judgements) else os.EX_CONFIG


def judge(target: Target) -> list[Judgement]:
    """One judgement for each instance; of both flavours where nothing is installed."""
    if (target.directory / UNIT).exists():
        return [_judged(target, name, is_installed=True) for name in target.names or (SOME_NAME,)]
    flavours = (
        [target] if target.is_user else [replace(target, is_hardened=h) for h in (False, True)]
    )
    return [
        _judged(flavour, name, is_installed=False)
        for flavour in flavours
        for name in target.names or (SOME_NAME,)
    ]


def _judged(target: Target, name: str, *, is_installed: bool) -> Judgement:
    unit = f"toril@{name}.service"
    with tempfile.TemporaryDirectory(prefix="toril-units-") as directory:
        base = Path(directory)
        if is_installed:
            _copy_installed(target, base)
        else:
            _write_shipped(target, base)
        is_hardened = any((base / f"{one}.d" / HARDENED).exists() for one in (UNIT, unit))
        return Judgement(
            unit=unit,
            is_installed=is_installed,
            is_hardened=is_hardened,
            exposure=None if target.is_user else _exposure(base / unit),
            exposure_max=HARDENED_EXPOSURE_MAX if is_hardened else EXPOSURE_MAX,
            faults=_faults(base, unit, is_user=target.is_user),
        )


def _copy_installed(target: Target, base: Path) -> None:
    for path in target.directory.glob("toril*"):
        if path.is_dir():
            shutil.copytree(path, base / path.name)
        else:
            shutil.copy(path, base)


def _write_shipped(target: Target, base: Path) -> None:
    for one in files(target):
        with suppress(ValueError):  # Not all of it are units.
            path = base / one.path.relative_to(target.directory)
            path.parent.mkdir(exist_ok=True)
            path.write_text(one.text, encoding="utf-8")


def _exposure(unit: Path) -> float | None:
    said = _analyze(unit.parent, "security", "--offline=yes", "--no-pager", str(unit))
    found = _SCORE.search(said)
    return float(found[1]) if found else None


def _faults(base: Path, unit: str, *, is_user: bool) -> list[str]:
    """What is said of our units, and not of those that they name."""
    words = ["--user"] if is_user else []
    said = _analyze(base, *words, "verify", "--man=no", str(base / unit))
    lines = [line.replace(f"{base}/", "") for line in said.splitlines()]
    return [line for line in lines if "toril" in line]


def _analyze(base: Path, *words: str) -> str:
    # A user's manager is asked for its run-time directory, and nothing is put there.
    environ = {"XDG_RUNTIME_DIR": str(base), **os.environ, "LC_ALL": "C"}
    environ["SYSTEMD_UNIT_PATH"] = f"{base}:"  # The colon: and wherever units lie otherwise.
    done = subprocess.run(
        ["systemd-analyze", *words],  # noqa: S607 - wherever it is
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=_ANALYZE_S,
    )
    return done.stdout + done.stderr


def _lines(judgements: list[Judgement]) -> list[str]:
    lines = []
    for one in judgements:
        flavour = "hardened, " if one.is_hardened else ""
        origin = "installed" if one.is_installed else "not installed; as install would write it"
        lines.append(f"{'ok ' if one.is_well else 'NO '} {one.unit} ({flavour}{origin})\n")
        if one.exposure is not None:
            lines.append(f"    exposure {one.exposure}, at most {one.exposure_max} is expected\n")
        lines += [f"    {fault}\n" for fault in one.faults]
    return lines
