"""How much memory does a child with NumPy and Pillow cost, forked or started afresh?

Proportional set size (PSS) per child, the zygote left out, for 1, 4 and 16 children that have each
run one job, at `restricted`; against as many interpreters that import the same for themselves.
Needs numpy and Pillow, and tells when they are not there.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import uvloop

from benchmarks.bench_isolation import CALL, Bench, spec
from benchmarks.harness import Side, compare, options
from toril.sandbox.launcher import Zygote
from toril.sandbox.levels import Level

LIBRARIES = ("numpy", "PIL.Image")
SPAWNED = f"import {', '.join(LIBRARIES)}; print(flush=True); input()"


def pss_mib(pid: int) -> float:
    """Source: proc_pid_smaps_rollup(5)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024


async def forked(count: int) -> float:
    """MiB per forked child."""
    bench = Bench()
    zygote = await Zygote.start(spec(Level.RESTRICTED, "benchmarks.imaging:touch"), bench)
    try:
        children = [zygote.fork(slot) for slot in range(1, count + 1)]
        while any(child.ready_at_s is None for child in children):
            await bench.hear()
        for child in children:
            child.run(CALL)
        while bench.outcomes < count:
            await bench.hear()
        return sum(pss_mib(child.pid) for child in children if child.pid) / count
    finally:
        await zygote.stop()


def spawned(count: int) -> float:
    """MiB per interpreter of its own."""
    started = [
        subprocess.Popen([sys.executable, "-c", SPAWNED], stdin=-1, stdout=-1) for _ in range(count)
    ]
    try:
        for one in started:
            assert one.stdout is not None
            one.stdout.readline()
        return sum(pss_mib(one.pid) for one in started) / count
    finally:
        for one in started:
            one.communicate(b"\n")


def main() -> None:
    given = options(__doc__)
    if missing := [one for one in ("numpy", "PIL") if importlib.util.find_spec(one) is None]:
        sys.stdout.write(f"left out: {' and '.join(missing)} not installed (numpy, pillow)\n")
        return
    for count in (1,) if given.smoke else (1, 4, 16):
        sides = [
            Side("toril child, restricted", lambda count=count: uvloop.run(forked(count))),
            Side("interpreter of its own", lambda count=count: spawned(count)),
        ]
        compare(f"{count} children with {' and '.join(LIBRARIES)}", "MiB PSS", sides, given.runs)


if __name__ == "__main__":
    main()
