"""The journal's own protocol: entries with fields, one datagram each.

Used by the writer's thread alone, so that it may wait for the journal. A change must keep: an entry
that the journal does not take is written as a line, and never raises.

Source: systemd.io/JOURNAL_NATIVE_PROTOCOL, systemd.journal-fields(7).
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

SOCKET = "/run/systemd/journal/socket"

_MESSAGE = b"MESSAGE="
_TIMEOUT_S = 5.0
"""Longest wait for the journal to take one entry; chosen: it may be restarted meanwhile."""

_TOO_LARGE = {errno.EMSGSIZE, errno.ENOBUFS}
_LENGTH = struct.Struct("<Q")
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def entry(fields: Iterable[tuple[str, str]]) -> bytes:
    """The datagram of an entry; the first field is `MESSAGE`, in one line."""
    return b"".join([_field(name, value) for name, value in fields])


def message(data: bytes) -> bytes:
    """The message of an entry, as a line."""
    return data[len(_MESSAGE) : data.index(b"\n") + 1]


def _field(name: str, value: str) -> bytes:
    data = value.encode(errors="backslashreplace")
    if b"\n" in data:
        return name.encode() + b"\n" + _LENGTH.pack(len(data)) + data + b"\n"
    return name.encode() + b"=" + data + b"\n"


class Journal:
    """Where entries go.

    Args:
        write_lines: takes the messages of those that the journal does not.
        path: its socket.
    """

    def __init__(self, write_lines: Callable[[Sequence[bytes]], None], path: str = SOCKET) -> None:
        self._write_lines = write_lines
        self._path = path
        self._socket: socket.socket | None = None

    def write(self, entries: Sequence[bytes]) -> None:
        """Send entries.

        Raises:
            OSError: one was not taken, nor can lines be written.
        """
        for data in entries:
            if not self._is_sent(data):
                self._write_lines([message(data)])

    def _is_sent(self, data: bytes) -> bool:
        """Try twice: a journal that was restarted has a new socket."""
        for _ in range(2):
            try:
                self._send(self._connected(), data)
            except TimeoutError:
                break
            except OSError:
                self.close()
            else:
                return True
        return False

    def _send(self, connected: socket.socket, data: bytes) -> None:
        try:
            connected.send(data)
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            _send_sealed(connected, data)

    def _connected(self) -> socket.socket:
        if self._socket is None:
            fresh = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            fresh.settimeout(_TIMEOUT_S)
            try:
                fresh.connect(self._path)
            except OSError:
                fresh.close()
                raise
            self._socket = fresh
        return self._socket

    def close(self) -> None:
        """Let go of the socket; a further entry would open it again."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None


def _send_sealed(connected: socket.socket, data: bytes) -> None:
    """What no datagram holds goes as a sealed file in memory, in a datagram of its own."""
    fd = os.memfd_create("toril-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(data)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        rights = array.array("i", [fd])
        connected.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    finally:
        os.close(fd)
