"""`toril systemd install|check`: the units of this toril, written and judged."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from toril.cli.systemd_check import check
from toril.cli.systemd_install import install
from toril.supervisor.service.units import Target, version_in

if TYPE_CHECKING:
    import argparse


def main(options: argparse.Namespace) -> int:
    """Install them, or judge those that are installed."""
    config_home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    target = Target(
        version=_version(),
        names=tuple(options.names),
        is_hardened=options.hardened,
        is_user=options.user,
        root=Path(options.root),
        config_home=Path(config_home),
    )
    if options.action == "install":
        return install(target, is_dry=options.dry_run, as_json=options.json)
    return check(target, as_json=options.json)


def _version() -> int | None:
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return None
    words = [systemctl, "--version"]
    return version_in(subprocess.run(words, capture_output=True, text=True, check=False).stdout)
