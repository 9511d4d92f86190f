"""Where health and metrics can be asked for: `HOST:PORT` or `unix:/path`, checked and bound."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from toril.errors import InvalidOption

UNIX = "unix:"
MAX_PORT = 65_535
MAX_PATH_BYTES = 107
"""Longest path of a socket; given: unix(7)."""

BACKLOG = 64
"""Connections that wait to be taken; chosen: probes come one at a time."""

_TCP = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[\w.-]+)):(?P<port>[0-9]{1,5})")
_EXAMPLES = '"127.0.0.1:9464" or "unix:/run/toril/health.sock"'


@dataclass(frozen=True, slots=True)
class Address:
    """One of the two forms.

    Attributes:
        host: empty for a socket in the file system.
        port: 0 lets the kernel choose.
        path: empty for a host.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_exposed(self) -> bool:
        """Can other hosts, or other users by name resolution, reach it?"""
        if self.path or self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True

    def __str__(self) -> str:
        if self.path:
            return UNIX + self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, what: str = "health_listen") -> Address:
    """The address that a setting names.

    Raises:
        InvalidOption: it is none; a host is always to be written, so that nobody opens a port to
            the world by leaving it out.
    """
    if isinstance(text, str) and text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        if path.startswith("/") and len(os.fsencode(path)) <= MAX_PATH_BYTES and "\0" not in path:
            return Address(path=path)
        raise InvalidOption(
            f"{what} is {text!r}; expected unix: and an absolute path of at most "
            f"{MAX_PATH_BYTES} bytes"
        )
    match = _TCP.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match["port"]) > MAX_PORT:
        raise InvalidOption(f"{what} is {text!r}; expected HOST:PORT or unix:PATH, {_EXAMPLES}")
    return Address(host=match["v6"] or match["host"], port=int(match["port"]))


def listening_socket(address: Address) -> socket.socket:
    """A socket that listens there; the caller closes it with `closed`.

    Raises:
        InvalidOption: it cannot be had.
    """
    try:
        return _bound_to_path(Path(address.path)) if address.path else _bound_to_port(address)
    except OSError as error:
        why = error.strerror or str(error)
        raise InvalidOption(
            f"health address {str(address)!r} cannot be listened on: {why}; expected an address of "
            "this host that nobody else uses"
        ) from None


def name_of(listening: socket.socket, address: Address) -> str:
    """The address as it is, with the port that the kernel chose."""
    if address.path:
        return str(address)
    return str(Address(address.host, listening.getsockname()[1]))


def inode_of(address: Address) -> int:
    """Which socket stands at the path; 0 for a host and a port."""
    return Path(address.path).stat().st_ino if address.path else 0


def remove_path(address: Address, inode: int) -> None:
    """Take our socket out of the file system, but not that of somebody who came after us."""
    with suppress(OSError):
        if address.path and inode_of(address) == inode:
            Path(address.path).unlink()


def _bound_to_port(address: Address) -> socket.socket:
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _name, where = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _bound_to_path(path: Path) -> socket.socket:
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))
        # Before anybody can connect: a socket that does not listen refuses.
        path.chmod(0o600)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _remove_stale(path: Path) -> None:
    """A socket that nobody listens on is what a killed process left."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            return
