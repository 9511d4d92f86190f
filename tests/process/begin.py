"""Starts a zygote and runs one job: `python -m tests.process.begin LEVEL FOLDER [WAIVED]`.

Prints what the job says, or what the start was refused with: as another user, or on a machine that
lacks something, which a test cannot make of itself.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.process.harness import pen
from toril.errors import SandboxUnavailable
from toril.sandbox.levels import Level


async def main(level: str, folder: str, waived: str = "") -> str:
    given = {
        "level": Level(level),
        "folder": Path(folder),
        "working_directory": folder,
        "waive": tuple(waived.split(",")) if waived else (),
    }
    try:
        async with pen("apart:processors", **given) as p:
            return (await p.run("look")).value.decode()
    except SandboxUnavailable as refusal:
        return str(refusal)


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(main(*sys.argv[1:])) + "\n")
