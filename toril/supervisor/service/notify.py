"""Words to the service manager: sd_notify(3) and what systemd hands over in the environment.

Datagrams of `NAME=value` lines to the socket that NOTIFY_SOCKET names, and nothing else. A change
must keep: a manager that does not listen, or that is not there, never troubles a supervisor.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PINGS_PER_WATCHDOG = 4
"""Pings in one watchdog interval; chosen: three may be late before the manager acts."""

_ABSTRACT = "@"
_US_PER_S = 1_000_000


class Notifier:
    """Tells the service manager how this process is; does nothing where there is none.

    Args:
        environ: where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID may stand.

    Attributes:
        watchdog_s: seconds after which the manager acts unless it is pinged; None: it does not.

    Source: sd_notify(3), sd_watchdog_enabled(3).
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._status = ""
        self.watchdog_s = _watchdog_s(environ) if self._address else None

    @property
    def is_heard(self) -> bool:
        """Is there a manager that wants to know?"""
        return bool(self._address)

    def ready(self) -> None:
        """Started, or reloaded."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Configuration is read anew; `ready` must follow."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now_us}")

    def stopping(self) -> None:
        """On the way out."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent when it has changed."""
        if text != self._status:
            self._status = text
            self._send("STATUS=" + text.replace("\n", " "))

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def extend(self, seconds: float) -> None:
        """Ask for this much time from now on before a start, reload or stop counts as hung."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * _US_PER_S)}")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith(_ABSTRACT):
            address = "\0" + address[len(_ABSTRACT) :]
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.setblocking(False)
            manager.sendto("\n".join(lines).encode(), address)


def credential(name: str, environ: Mapping[str, str]) -> Path | None:
    """The file of a credential that the service manager hands over; None where it does not.

    Source: systemd.exec(5), LoadCredential=.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY")
    path = Path(directory, name) if directory else None
    return path if path is not None and path.is_file() else None


def is_journal(fd: int, environ: Mapping[str, str]) -> bool:
    """Is this file descriptor connected to the journal?

    Source: systemd.exec(5), JOURNAL_STREAM.
    """
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return (str(found.st_dev), str(found.st_ino)) == (device, inode)


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    wanted, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not wanted.isdecimal() or int(wanted) == 0 or pid not in {"", str(os.getpid())}:
        return None
    return int(wanted) / _US_PER_S
