"""How much memory does one more child with NumPy and Pillow cost, forked or started afresh?

The marginal cost: (memory of n children less that of one) ÷ (n - 1), so that what all share, and
the zygote itself, is not divided among them and does not flatter. Memory is the proportional set
size (PSS) of all processes together, the zygote among them, while they idle after some jobs, each
of which collects garbage: what a child has only inherited becomes its own as soon as it is touched.
At `restricted`; against as many interpreters that import the same and run the same, with nothing
of toril in them. The second table adds what the first leaves out: an application of 60 000 objects.

The zygote can be read by root only; without it the figure of toril's children is too high.
Needs numpy and Pillow, and tells when they are not there.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from benchmarks.bench_isolation import CALL, Bench, spec
from benchmarks.harness import ROOT, Side, compare, options
from toril.sandbox import environment
from toril.sandbox.launcher import Zygote
from toril.sandbox.levels import Level
from toril.sandbox.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CASES = (("imaging", 16, 3), ("imaging", 4, 100), ("application", 8, 3))
"""What is imported, by how many in the end, and how many jobs each of them runs."""

SMOKE = (("imaging", 2, 1),)

SPAWNED = """
import sys
from {module} import touch
for _ in sys.stdin:
    touch(None)
    print(flush=True)
"""


def main() -> None:
    given = options(__doc__)
    if missing := [one for one in ("numpy", "PIL") if importlib.util.find_spec(one) is None]:
        sys.stdout.write(f"left out: {' and '.join(missing)} not installed (numpy, pillow)\n")
        return
    for module, children, jobs in SMOKE if given.smoke else CASES:
        sides = [
            Side(
                f"toril child, {Level.RESTRICTED.value}", _marginal(forked, module, children, jobs)
            ),
            Side("interpreter of its own", _marginal(spawned, module, children, jobs)),
        ]
        title = f"a child more, to {children}, {module}, idle after {jobs} jobs"
        compare(title, "MiB PSS", sides, given)


def _marginal(
    measure: Callable[[str, int, int], float], module: str, children: int, jobs: int
) -> Callable[[], float]:
    """What one more costs when there are `children` in the end."""

    def run() -> float:
        one, all_of_them = measure(module, 1, jobs), measure(module, children, jobs)
        return (all_of_them - one) / (children - 1)

    return run


def forked(module: str, count: int, jobs: int) -> float:
    """MiB of a zygote and its children."""
    return uvloop.run(_forked(module, count, jobs))


async def _forked(module: str, count: int, jobs: int) -> float:
    bench = Bench()
    zygote = await Zygote.start(spec(Level.RESTRICTED, f"benchmarks.{module}:touch"), bench)
    try:
        children = [zygote.fork(slot) for slot in range(1, count + 1)]
        for _ in range(jobs):
            async with asyncio.timeout(60):
                while any(child.state is not State.IDLE for child in children):
                    await bench.hear()
            for child in children:
                child.run(CALL)
        while bench.outcomes < count * jobs:
            await bench.hear()
        return pss_mib([zygote.pid, *(child.pid for child in children if child.pid)])
    finally:
        await zygote.stop()


def spawned(module: str, count: int, jobs: int) -> float:
    """MiB of interpreters of their own."""
    command = [sys.executable, "-c", SPAWNED.format(module=f"benchmarks.{module}")]
    env = environment.build(os.environ)  # Without a pool of BLAS threads, as toril's children.
    started = [
        subprocess.Popen(command, cwd=ROOT, env=env, stdin=-1, stdout=-1) for _ in range(count)
    ]
    try:
        for _ in range(jobs):
            for one in started:
                _say(one)
            for one in started:
                _hear(one)
        return pss_mib([one.pid for one in started])
    finally:
        for one in started:
            one.communicate()


def _say(one: subprocess.Popen[bytes]) -> None:
    assert one.stdin is not None
    one.stdin.write(b"\n")
    one.stdin.flush()


def _hear(one: subprocess.Popen[bytes]) -> None:
    assert one.stdout is not None
    one.stdout.readline()


def pss_mib(pids: Iterable[int]) -> float:
    """Of all that may be read, together. Source: proc_pid_smaps_rollup(5)."""
    kib = 0
    for pid in pids:
        with suppress(PermissionError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            kib += int(next(line for line in lines if line.startswith("Pss:")).split()[1])
    return kib / 1024


if __name__ == "__main__":
    main()
