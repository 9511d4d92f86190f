"""The descriptors between supervisor and child, made on the supervisor's side."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toril.errors import SandboxUnavailable
from toril.sandbox.prefetch import Prefetch

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Ends:
    """Our ends: the data socket, those of the calls ahead, the read ends of the three pipes."""

    data: socket.socket
    prefetch: Prefetch
    stdout: int
    stderr: int
    stack: int


def pairs() -> tuple[Ends, tuple[int, ...]]:
    """Our ends, and the child's ends in the order in which a zygote takes them.

    Raises:
        SandboxUnavailable: this process has no descriptors left.
    """
    with ExitStack() as ours, ExitStack() as theirs:
        try:
            data, their_data = _sockets(ours, theirs, socket.SOCK_STREAM)
            calls, their_calls = _sockets(ours, theirs, socket.SOCK_SEQPACKET)
            kept = ours.enter_context(their_calls.dup())
            out, err, stack = (pipe(ours, theirs) for _ in range(3))
        except OSError as error:
            raise SandboxUnavailable(
                f"no descriptors for another child: {error}", "Raise the limit on open files"
            ) from error
        # A signal handler writes the stack: it must not wait for a reader.
        os.set_blocking(stack[1], False)
        ours.pop_all()
        theirs.pop_all()
    fds = (their_data.detach(), out[1], err[1], stack[1], their_calls.detach())
    return Ends(data, Prefetch(calls, kept), out[0], err[0], stack[0]), fds


def _sockets(ours: ExitStack, theirs: ExitStack, kind: int) -> tuple[socket.socket, socket.socket]:
    first, second = socket.socketpair(type=kind)
    return ours.enter_context(first), theirs.enter_context(second)


def pipe(ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    """A pipe whose read end is closed with `ours` and whose write end is with `theirs`."""
    read, write = os.pipe()
    ours.callback(os.close, read)
    theirs.callback(os.close, write)
    return read, write


def close_all(fds: Sequence[int]) -> None:
    """Close what may be closed already."""
    for fd in fds:
        with suppress(OSError):
            os.close(fd)
