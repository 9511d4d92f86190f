"""The demo's processors: real CPU work on real input, and three ways to misbehave.

They run in children and import the standard library only.
"""

from __future__ import annotations

import ast
import ctypes
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toril import SandboxedJob

_BRANCHES = (ast.If, ast.For, ast.While, ast.Try, ast.With, ast.IfExp, ast.BoolOp, ast.Match)


def measure(job: SandboxedJob) -> dict[str, Any]:
    """Parse source files with the pure part of Python's own `ast` and measure what is in them.

    A file that does not parse fails the job, as it should.
    """
    totals = {"files": 0, "lines": 0, "functions": 0, "branches": 0, "deepest": 0}
    paths: list[str] = job.data["paths"]
    for path in paths:
        source = Path(path).read_bytes()
        tree = ast.parse(source, path)
        nodes = list(ast.walk(tree))
        totals["files"] += 1
        totals["lines"] += source.count(b"\n")
        totals["functions"] += sum(isinstance(n, ast.FunctionDef) for n in nodes)
        totals["branches"] += sum(isinstance(n, _BRANCHES) for n in nodes)
        totals["deepest"] = max(totals["deepest"], _depth(tree))
        job.update_progress(round(100 * totals["files"] / len(paths)))
    return totals


def _depth(node: ast.AST) -> int:
    deepest, level = 0, [node]
    while level:
        deepest += 1
        level = [child for parent in level for child in ast.iter_child_nodes(parent)]
    return deepest


def block(job: SandboxedJob) -> dict[str, float]:
    """Stay inside one call of C for `seconds`, holding the GIL: no Python runs here meanwhile."""
    began = time.monotonic()
    ctypes.PyDLL(None).usleep(round(float(job.data["seconds"]) * 1_000_000))
    return {"seconds": time.monotonic() - began}


def victim(job: SandboxedJob) -> dict[str, int]:
    """Tell which process this is, then work on for a while; the demo kills it the first time."""
    job.update_progress({"pid": os.getpid()})
    until = time.monotonic() + (2.0 if job.attempts_started == 1 else 0.2)
    while time.monotonic() < until:
        sum(range(10_000))
    return {"pid": os.getpid()}


def hoard(job: SandboxedJob) -> int:
    """Take memory, 16 MiB every 50 ms, until the limit says no."""
    kept = []
    for _ in range(int(job.data["megabytes"]) // 16):
        kept.append(bytearray(16 * 1024 * 1024))
        time.sleep(0.05)
    return len(kept)


def tick(job: SandboxedJob) -> int:
    """Next to nothing: what is limited is how often it starts."""
    return int(job.attempts_started)


processors = {"measure": measure, "block": block, "victim": victim, "hoard": hoard, "tick": tick}
