"""A processor's own `logging`, in the child: its records reach the log with their job.

Only where nobody has configured the root logger by the end of `setup()`: who has, is left alone,
and what their handlers print reaches the log as any output does.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from toril.sandbox.frames import FrameType
from toril.sandbox.record import encode

if TYPE_CHECKING:
    from toril.sandbox.wire import Wire


def listen(wire: Wire) -> None:
    """Hear what is logged from now on, from INFO up unless another level was set."""
    root = logging.getLogger()
    if root.handlers:
        return
    root.addHandler(_ToSupervisor(wire))
    if root.level == logging.WARNING:
        root.setLevel(logging.INFO)


class _ToSupervisor(logging.Handler):
    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; to standard error when no job is at work."""
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001 - a wall: an argument's own __str__ may raise anything
            self.handleError(record)
            return
        if sequence := self._wire.sequence:
            payload = encode(record.levelno, record.name, text)
            self._wire.send(FrameType.RECORD, sequence, payload)
        else:
            sys.stderr.write(f"{record.levelname} {record.name}: {text}\n")
