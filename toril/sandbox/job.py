"""The job as a processor sees it, inside the child.

Everything it says goes to the supervisor as frames; the child has no Redis.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Protocol

from toril.call import MAX_DATA_BYTES
from toril.errors import TorilError
from toril.sandbox.frames import MAX_LOG_BYTES, MAX_PROGRESS_BYTES, FrameType
from toril.sandbox.text import clean, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROGRESS_PER_S = 10.0
"""Progress frames that leave a child per second; chosen: what a person or a page can follow."""

_PROGRESS_BURST = 3
"""Progress frames that may leave at once; chosen: the first few steps show without delay."""


class UnreadableJob(TorilError):
    """The job's data in Redis is not JSON."""


class Sender(Protocol):
    """What a job speaks through."""

    def send(self, frame_type: FrameType, sequence: int, payload: bytes = b"") -> None:
        """Send one frame of the call `sequence`."""


class SandboxedJob:
    """One attempt of one job.

    Attributes:
        id: the job's id in its queue.
        name: the job's name.
        queue: the queue's name.
        opts: the job's options as BullMQ stores them.
        attempts_made: attempts that ended and counted, before this one.
        attempts_started: times the job was started, this one included.
        fencing_token: the same number, to be handed to stores that refuse late writers: it grows
            with every start within one life of the job; `timestamp` tells lives apart.
        timestamp: when the job was added, ms since 1970.
        priority: 0 (none) or 1 (most urgent) upwards.
    """

    def __init__(self, header: bytes, data: bytes, sender: Sender, sequence: int) -> None:
        """Made by the child.

        Args:
            header: as in `toril.call.Call`.
            data: as in `toril.call.Call`.
            sender: where what the job says goes.
            sequence: number of the call it belongs to.
        """
        fields: Mapping[str, Any] = json.loads(header)
        self.id: str = fields["id"]
        self.name: str = fields["name"]
        self.queue: str = fields["queue"]
        self.opts: dict[str, Any] = fields.get("opts") or {}
        self.attempts_made: int = fields["attempts_made"]
        self.attempts_started: int = fields["attempts_started"]
        self.fencing_token: int = self.attempts_started
        self.timestamp: int = fields["timestamp"]
        self.priority: int = fields.get("priority", 0)
        self._raw_data: bytes | None = data
        self._data: Any = None
        self._sender = sender
        self._sequence = sequence
        self._progress: bytes | None = None
        self._progress_allowance = float(_PROGRESS_BURST)
        self._progress_at_s = time.monotonic()

    @property
    def data(self) -> Any:
        """The job's data, parsed when it is first asked for.

        Raises:
            UnreadableJob: what stands in Redis is not JSON; the attempt ends with that reason.
        """
        if self._raw_data is not None:
            try:
                self._data = json.loads(self._raw_data)
            except (ValueError, RecursionError) as error:
                raise UnreadableJob(f"job data is not JSON: {error}") from error
            self._raw_data = None
        return self._data

    def log(self, message: object) -> None:
        """Add an entry to the job's log; over 64 KiB it is cut, with a mark."""
        text = clean(str(message), MAX_LOG_BYTES)
        self._sender.send(FrameType.LOG, self._sequence, text.encode())

    def update_progress(self, value: Any) -> None:
        """Say how far the job is: a number, or any small JSON value.

        At most about ten a second leave the child; the last one always does, before the result.

        Raises:
            TypeError, ValueError: it has no JSON form, or is over 64 KiB.
        """
        self._progress = _bounded("progress", value, MAX_PROGRESS_BYTES)
        now_s = time.monotonic()
        grown = self._progress_allowance + (now_s - self._progress_at_s) * _PROGRESS_PER_S
        self._progress_allowance = min(grown, _PROGRESS_BURST)
        self._progress_at_s = now_s
        if self._progress_allowance >= 1:
            self._progress_allowance -= 1
            self.flush()

    def update_data(self, value: Any) -> None:
        """Replace the job's data, here and in Redis; a later attempt starts with it.

        Raises:
            TypeError, ValueError: it has no JSON form, or is over the limit on job data.
        """
        data = _bounded("job data", value, MAX_DATA_BYTES)
        self._data, self._raw_data = value, None
        self._sender.send(FrameType.UPDATE_DATA, self._sequence, data)

    def flush(self) -> None:
        """Send the progress that is held back, if there is one."""
        held, self._progress = self._progress, None
        if held is not None:
            self._sender.send(FrameType.PROGRESS, self._sequence, held)


def _bounded(what: str, value: Any, max_bytes: int) -> bytes:
    data = to_json(value)
    if len(data) > max_bytes:
        raise ValueError(f"{what} is {len(data)} bytes of JSON, over the limit of {max_bytes}")
    return data
