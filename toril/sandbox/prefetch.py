"""Calls that lie ready for a child, so that it goes on at once when it is done with one.

They lie in a socket of packets, and the end that a child reads is ours as well: whoever takes a
packet out has it, the child or we. So what it has not begun can be taken back at any moment,
whatever it is at, without asking it. Why: with one call at a time a child and
its supervisor wait for each other after every job, which costs more than a short job does.

Every call that fits takes this way, the first one, too: had the child to read it elsewhere, it
could find what lies ready before it. What does not fit goes over the data socket, and then nothing
is laid ready behind it.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import TYPE_CHECKING

from toril.sandbox.frames import CHILD_MAXIMA, HEADER_BYTES, decode_header

if TYPE_CHECKING:
    from toril.sandbox.attempt import Attempt

PACKET_BYTES = 16 * 1024
"""Largest call that may lie ready, with its header; chosen: eight of them fit into the buffer of a
socket (net.core.wmem_default), and for larger ones it is not the waiting that counts."""

OVERRUN_S = 0.02
"""How long a call may run before those behind it are taken back; given: as much work as the design
lets stand in line for a child."""


_SO_LOCK_FILTER = 44
"""No filter can be put on the socket any more; given: socket(7), Linux 3.9, not in Python's
`socket`."""


class Prefetch:
    """The calls that were given to a child behind the one at work, in order.

    Args:
        ours: the end that we write to.
        theirs: the end that the child reads, as long as it is open here.
    """

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        # The child writes its answers elsewhere, and what lies ready is not for it to drop or cut.
        theirs.shutdown(socket.SHUT_WR)
        theirs.setsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)
        ours.setblocking(False)
        self._ours, self._theirs = ours, theirs
        self._attempts: deque[Attempt] = deque()

    def __len__(self) -> int:
        """Calls behind the one at work, whoever has read them."""
        return len(self._attempts)

    def send(self, attempt: Attempt) -> bool:
        """Give it a call; False where that does not fit, and for a child that has closed it."""
        packet = attempt.packet()
        if len(packet) > PACKET_BYTES:
            return False
        try:
            self._ours.send(packet)
        except OSError:
            return False
        return True

    def put(self, attempt: Attempt) -> bool:
        """Lay one ready behind the others; False as above."""
        if not self.send(attempt):
            return False
        self._attempts.append(attempt)
        return True

    def pop(self) -> Attempt | None:
        """The one at work is over: what the child goes on with, if it does."""
        return self._attempts.popleft() if self._attempts else None

    def take_back(self, current: Attempt | None) -> list[Attempt]:
        """Those that the child has not read, in order, the one at work among them: it never will.

        It may read one while we read others, so what is left to it is not always the first.
        """
        read: set[int] = set()
        while (sequence := self._read_one()) is not None:
            read.add(sequence)
        taken = [one for one in (current, *self._attempts) if one and one.sequence in read]
        if taken:
            self._attempts = deque(one for one in self._attempts if one.sequence not in read)
        return taken

    def close(self) -> None:
        """Let go of both ends."""
        self._ours.close()
        self._theirs.close()

    def _read_one(self) -> int | None:
        """The number of the next call; None where there is none."""
        try:
            # Not to wait has to be said each time: the child can change what the socket does.
            header = self._theirs.recv(HEADER_BYTES, socket.MSG_DONTWAIT)
        except OSError:
            return None
        if not header:
            return None
        # What was spoilt is gone all the same, and no call has the number 0.
        return decode_header(header, CHILD_MAXIMA)[1] if len(header) == HEADER_BYTES else 0
