"""`toril demo`: a private server, two supervisors, real work, some harm, and the proof."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from toril.demo.promises import Promise, promises
from toril.demo.stage import open_stage
from toril.demo.view import View
from toril.runtime.connection import open_pool
from toril.runtime.embedded import EmbeddedServer

if TYPE_CHECKING:
    import argparse

    from toril.demo.stage import Stage

DEADLINE_S = 60.0
"""When the demo gives up; it takes about 15 s on two cores."""

TICK_S = 0.1
SUPERVISORS = 2


def main(options: argparse.Namespace) -> int:
    """Run the demo; 0 only if every promise is kept."""
    with tempfile.TemporaryDirectory(prefix="toril-demo-") as directory, ExitStack() as stack:
        home = Path(directory)
        server = EmbeddedServer(home / "server")
        url = server.start()
        stack.callback(server.stop)
        client = stack.enter_context(redis.Redis.from_pool(open_pool(url)))
        stage = open_stage(url, client)
        stack.enter_context(stage.work)
        stack.enter_context(stage.limited)
        stage.set()
        with View(stage.total) as view:
            fleet = [_supervisor(url, home / f"supervisor-{n}.log") for n in range(SUPERVISORS)]
            try:
                is_done = _watch(stage, view, fleet)
            finally:
                codes = _stop(fleet)
        found = [*promises(stage), _clean(stage, codes)] if is_done else []
        view.promises(found)
        if options.json:
            sys.stdout.write(json.dumps([asdict(promise) for promise in found], indent=2) + "\n")
        if found and all(promise.holds for promise in found):
            return os.EX_OK
        _show_logs(home)
        return 1


def _supervisor(url: str, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "toril.demo.supervise"],
            env={**os.environ, "TORIL_REDIS_URL": url},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )


def _watch(stage: Stage, view: View, fleet: list[subprocess.Popen[bytes]]) -> bool:
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        stage.tick()
        settled = stage.settled()
        view.show({queue.name: queue.counts() for queue in (stage.work, stage.limited)}, settled)
        if settled == stage.total:
            return True
        if any(process.poll() is not None for process in fleet):
            return False
        time.sleep(TICK_S)
    return False


def _stop(fleet: list[subprocess.Popen[bytes]]) -> list[int]:
    for process in fleet:
        process.send_signal(signal.SIGTERM)
    return [process.wait(timeout=30) for process in fleet]


def _clean(stage: Stage, codes: list[int]) -> Promise:
    active = stage.work.counts()["active"] + stage.limited.counts()["active"]
    locks = len(list(stage.client.scan_iter("*:lock")))
    return Promise(
        "stopped, nothing is left behind",
        active == locks == 0 and not any(codes),
        f"{active} jobs active, {locks} locks; exit codes {', '.join(map(str, codes))}",
    )


def _show_logs(home: Path) -> None:
    for log in sorted(home.glob("*.log")):
        tail = log.read_text(errors="replace").splitlines()[-15:]
        sys.stderr.write("\n".join([f"--- {log.name}", *tail, ""]))
