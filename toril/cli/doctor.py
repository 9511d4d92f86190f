"""`toril doctor`: which isolation levels this host can enforce, and what to do about the others."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from toril.sandbox.levels import WALLED, Level

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

LOOK_S = 60.0
"""Longest look; chosen: it takes milliseconds."""

Row = dict[str, Any]


def main(options: argparse.Namespace) -> int:
    """Print the table; EX_CONFIG when the default level cannot be enforced here."""
    rows = examine()
    levels = enforceable(rows)
    if options.json:
        told = {"levels": levels, "mechanisms": rows}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    else:
        sys.stdout.write(table(rows, levels))
    return os.EX_OK if levels[Level.RESTRICTED.value] else os.EX_CONFIG


def examine() -> list[Row]:
    """Look at every mechanism, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-I", "-m", "toril.sandbox.examine"],
        capture_output=True,
        text=True,
        check=True,
        timeout=LOOK_S,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def enforceable(rows: Sequence[Row]) -> dict[str, bool]:
    """Level → whether everything that it needs is there."""
    missing = {level for row in rows if not row["is_there"] for level in row["levels"]}
    return {level.value: level.value not in missing for level in Level}


def table(rows: Sequence[Row], levels: dict[str, bool]) -> str:
    """Both for people; a remedy follows what it is for."""
    lines = [f"{platform.system()} {platform.release()}, {platform.machine()}", ""]
    for row in rows:
        lines.append(f"{'ok ' if row['is_there'] else 'NO '} {row['name']:<12} {row['detail']}")
        lines.append(f"    {'':<12} {row['what']}")
        if row["remedy"]:
            lines.append(f"    {'':<12} remedy: {row['remedy']}")
    lines.append("")
    for level, is_there in levels.items():
        words = "can be enforced" if is_there else "cannot be enforced, and refuses to start"
        if level not in {one.value for one in WALLED}:
            words = "works everywhere; no security claim"
        lines.append(f"level {level}: {words}")
    return "\n".join(lines) + "\n"
