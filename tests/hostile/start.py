"""Starts one zygote and runs one job, or tells why not.

Run as `python -m tests.hostile.start LEVEL [WAIVED …]`; it prints one JSON object.
"""

# ruff: noqa: T201 - what it prints is read by the tests

from __future__ import annotations

import json
import sys

import uvloop

from tests.process.harness import GOOD, pen
from toril.errors import SandboxUnavailable
from toril.sandbox import tree
from toril.sandbox.levels import Level


async def main(level: Level, waived: tuple[str, ...]) -> dict[str, object]:
    """What became of it."""
    tree.become_supervisor()
    try:
        async with pen(GOOD, level=level, waive=waived) as made:
            outcome = await made.run("echo", 5)
    except SandboxUnavailable as refusal:
        words = {"reason": refusal.reason, "remedy": refusal.remedy}
        return {**words, "missing": list(refusal.missing), "level": refusal.level}
    return {"verdict": outcome.verdict.value, "value": outcome.value.decode()}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(main(Level(sys.argv[1]), tuple(sys.argv[2:])))))
