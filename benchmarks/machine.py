"""What figures were measured on: versions, machine, load, commit."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.servers import server_binary, version_of
from toril import __version__

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "benchmarks" / "peers"
PEERS_PYTHON = PEERS / ".venv" / "bin" / "python"

_PACKAGES = ("bullmq", "celery", "rq", "dramatiq", "huey", "redis", "hiredis")
_ASK_VERSIONS = (
    "import importlib.metadata as m, json, sys\n"
    "print(json.dumps({name: m.version(name) for name in sys.argv[1:]}))"
)


def setting() -> dict[str, Any]:
    """Everything that a figure should be read with."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": _commit(),
        "machine": f"{os.cpu_count()} cores, {_processor()}, Linux {platform.release()}",
        "load": round(os.getloadavg()[0], 2),
        "toril": __version__,
        "python": f"{platform.python_version()}, {_build()}, fixed loop {_loop_ms():.0f} ms",
        "redis": version_of(server_binary()),
        "redis-py": version("redis"),
        "node": _said(["node", "--version"]) if shutil.which("node") else "none",
        "peers": peer_versions(),
    }


def words(found: dict[str, Any]) -> str:
    """A setting in a few lines."""
    peers = ", ".join(f"{name} {number}" for name, number in found["peers"].items())
    return (
        f"  toril {found['toril']} ({found['commit']}), Python {found['python']}, "
        f"redis {found['redis']}, redis-py {found['redis-py']}, node {found['node']}\n"
        f"  {found['machine']}, load {found['load']}, {found['date']}\n"
        f"  peers: {peers or 'none installed'}"
    )


def peer_versions() -> dict[str, str]:
    """Of the peers that are installed."""
    found = {}
    if PEERS_PYTHON.exists():
        said = _said([str(PEERS_PYTHON), "-c", _ASK_VERSIONS, *_PACKAGES])
        found.update({f"{name} (Python)": number for name, number in json.loads(said).items()})
    for name in ("bullmq", "ioredis"):
        about = PEERS / "node_modules" / name / "package.json"
        if about.exists():
            found[f"{name} (Node)"] = json.loads(about.read_text())["version"]
    return found


def _commit() -> str:
    """With `-dirty` when the tree differs from it; results of the same session do not count."""
    git = ["git", "-C", str(ROOT)]
    changed = _said([*git, "status", "--porcelain", "-uno", "--", ".", ":!benchmarks/results"])
    return _said([*git, "rev-parse", "--short", "HEAD"]) + ("-dirty" if changed else "")


def _build() -> str:
    """Builds without profile-guided optimisation run such loops 1.6 times slower."""
    has_asked = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    if sys.base_prefix == "/usr":
        return "the distribution's optimised build"
    return "optimised build" if has_asked else "NOT an optimised build"


def _loop_ms() -> float:
    """The best of five: how fast this interpreter is on this machine now."""
    times = []
    for _ in range(5):
        began, total = time.perf_counter(), 0
        for one in range(300_000):
            total += one & 7
        times.append((time.perf_counter() - began) * 1000)
    return min(times)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"
