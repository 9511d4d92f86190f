"""The directory of an embedded server: who may see it, who runs in it, where it listens.

A running server holds a file lock on its directory, inherited from whoever started it: the lock
alone says whether one is there. The file `address` says where it listens, because processes of
one user may differ in the environment from which a short way to a socket is made.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from pathlib import Path
from urllib.parse import quote

from toril.errors import RedisUnavailable

MAX_SOCKET_PATH_BYTES = 100
"""Longest socket path; chosen below the kernel's 107 bytes. Source: unix(7)."""


def private_directory(path: Path) -> Path:
    """The directory, made if need be; nobody but us can look into it.

    Raises:
        RedisUnavailable: it belongs to somebody else, or cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = path.lstat()
        if found.st_uid != os.getuid() or path.is_symlink():
            raise RedisUnavailable(
                f"{path} belongs to another user, or is a link; expected a directory of ours"
            )
        path.chmod(0o700)
    except OSError as error:
        raise RedisUnavailable(f"the embedded server has no place for its data: {error}") from error
    return path.resolve()


def take_lock(home: Path) -> int | None:
    """The directory's lock as an open file, or None while a server (or its starter) holds it."""
    lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def new_socket(home: Path) -> Path:
    """Where the next server will listen, left as `address`; what a dead one left is removed."""
    socket = home / "s"
    if len(os.fsencode(socket)) > MAX_SOCKET_PATH_BYTES:
        socket = _short_directory(home) / "s"
    socket.unlink(missing_ok=True)
    (home / "pid").unlink(missing_ok=True)
    draft = home / "address.new"
    draft.write_bytes(os.fsencode(socket))
    draft.replace(home / "address")
    return socket


def _short_directory(home: Path) -> Path:
    """A directory for the socket alone, where the way to `home` is too long for one."""
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    if runtime.is_absolute() and len(os.fsencode(runtime)) < MAX_SOCKET_PATH_BYTES // 2:
        return private_directory(runtime / f"toril-{name}")
    temporary = Path(tempfile.gettempdir())
    if len(os.fsencode(temporary)) > MAX_SOCKET_PATH_BYTES // 2:
        temporary = Path("/tmp")  # noqa: S108 - owner and mode are checked below
    return private_directory(temporary / f"toril-{os.getuid()}-{name}")


def remove_short_directory(home: Path) -> None:
    """Remove what `new_socket` made outside of `home`, once the server has ended."""
    socket = Path(os.fsdecode((home / "address").read_bytes()))
    if socket.parent != home:
        socket.unlink(missing_ok=True)
        socket.parent.rmdir()


def listening_url(home: Path) -> str:
    """URL of the directory's server, running or not; empty before the first start."""
    try:
        return url_at(Path(os.fsdecode((home / "address").read_bytes())))
    except FileNotFoundError:
        return ""


def url_at(socket: Path) -> str:
    """URL of a server that listens on that socket."""
    return f"unix://{quote(str(socket))}?db=0"
