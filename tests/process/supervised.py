"""A supervisor with one zygote and one busy child, to be killed by a test; prints their pids.

Run as `python -m tests.process.supervised JOB`; the pids are those of the zygote, the child, and
whatever the job logged as pids. It sweeps as a supervisor does when its zygote dies, and says so.
"""

# ruff: noqa: T201 - a test reads what it prints

from __future__ import annotations

import asyncio
import sys

import uvloop

from tests.process.harness import HOSTILE, Pen, spec_of
from toril.sandbox import tree
from toril.sandbox.launcher import Zygote


async def main() -> None:
    """Run until killed."""
    tree.become_supervisor()
    pen = Pen()
    pen.zygote = await Zygote.start(spec_of(HOSTILE), pen)
    child = await pen.begin_and_hear(sys.argv[1])
    logged = [word for word in pen.heard[child].lines("log") if word.isdigit()]
    print(pen.zygote.pid, child.pid, *logged, flush=True)
    await pen.until(lambda: pen.zygote_ends)
    tree.sweep_strangers(set())
    print("swept", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
