"""Messages between supervisor and zygote: JSON objects on a SOCK_SEQPACKET socket, fds beside them.

Both ends are toril's own code; no code of a job ever runs with this socket open.
"""

from __future__ import annotations

import json
import socket
from array import array
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_MESSAGE_BYTES = 160 * 1024
"""Longest message; chosen: an import path of hundreds of entries, a traceback, below the default
socket buffer (net.core.wmem_default, 212992)."""

_MAX_FDS = 5

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
    """The next message and its fds, close-on-exec; None when the other end is gone.

    `socket.recv_fds` does not do: Python 3.11's drops its flags.
    """
    space = socket.CMSG_LEN(_MAX_FDS * array("i").itemsize)
    try:
        data, notes, _, _ = channel.recvmsg(_MAX_MESSAGE_BYTES, space, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None
    fds = array("i")
    for _level, _type, content in notes:
        fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return (json.loads(data), fds.tolist()) if data else None
