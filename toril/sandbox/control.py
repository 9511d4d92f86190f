"""Messages between supervisor and zygote: JSON objects on a SOCK_SEQPACKET socket, fds beside them.

Both ends are toril's own code; no code of a job ever runs with this socket open.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_MESSAGE_BYTES = 160 * 1024
"""Longest message; chosen: an import path of hundreds of entries, a traceback, below the default
socket buffer (net.core.wmem_default, 212992)."""

_MAX_FDS = 3

Message = dict[str, Any]


def send(channel: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Send one message and copies of `fds`.

    Raises:
        BlockingIOError: the socket is non-blocking and full.
        OSError: the other end is gone, or the message is too long.
    """
    data = json.dumps(message).encode()
    if fds:
        socket.send_fds(channel, [data], fds)
    else:
        channel.send(data)


def receive(channel: socket.socket) -> tuple[Message, list[int]] | None:
    """The next message and its fds, close-on-exec; None when the other end is gone."""
    try:
        data, fds, _, _ = socket.recv_fds(
            channel, _MAX_MESSAGE_BYTES, _MAX_FDS, socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionResetError:
        return None
    return (json.loads(data), fds) if data else None
