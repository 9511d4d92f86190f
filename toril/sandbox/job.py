"""The job as a processor sees it, inside the child.

Everything it says goes to the supervisor as frames; the child has no Redis.
"""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from toril import correlation
from toril.errors import TorilError
from toril.sandbox import asking
from toril.sandbox.frames import MAX_LOG_BYTES, MAX_PROGRESS_BYTES, FrameType
from toril.sandbox.text import clean, from_json, to_json
from toril.sizes import MAX_CHECKPOINT_BYTES, MAX_DATA_BYTES
from toril.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROGRESS_PER_S = 10.0
"""Progress frames that leave a child per second; chosen: what a person or a page can follow."""

_PROGRESS_BURST = 3
"""Progress frames that may leave at once; chosen: the first few steps show without delay."""


class UnreadableJob(TorilError):
    """The job's data or options in Redis are not JSON."""


class Sender(Protocol):
    """What a job speaks through."""

    def send(self, frame_type: FrameType, sequence: int, payload: bytes = b"") -> None:
        """Send one frame of the call `sequence`."""

    def check(self) -> None:
        """Raise what the supervisor wants of the running call, if it wants something."""

    def call(self, sequence: int, request: bytes) -> bytes:
        """Ask the supervisor, wait for its reply."""


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
        data: the job's data.
        telemetry: the trace that its producer stored with it; None without one. Jobs that it adds
            carry it too: set it to hand on another.
        correlation_id: what all that one request sets off has in common in the logs; its
            producer's, its trace's, or made of queue and id. Jobs that it adds have it too.
        env: what the processor module's `setup()` returned in this child; None without one.
        checkpointed: what an earlier attempt kept last with `checkpoint()`; None without one.
    """

    _progress: bytes | None = None
    _progress_allowance = float(_PROGRESS_BURST)
    _progress_at_s = 0.0

    def __init__(
        self, header: bytes, data: bytes, sender: Sender, sequence: int, env: Any = None
    ) -> None:
        """Made by the child.

        Args:
            header: as in `toril.call.Call`.
            data: as in `toril.call.Call`.
            sender: where what the job says goes.
            sequence: number of the call it belongs to.
            env: what `setup()` returned.

        Raises:
            UnreadableJob: what stands in Redis is not JSON; the attempt ends with that reason.
        """
        fields: Mapping[str, Any] = _read("job options are", header)
        self.id: str = fields["id"]
        self.name: str = fields["name"]
        self.queue: str = fields["queue"]
        self.opts: dict[str, Any] = fields.get("opts") or {}
        self.attempts_made: int = fields["attempts_made"]
        self.attempts_started: int = fields["attempts_started"]
        self.fencing_token: int = self.attempts_started
        self.timestamp: int = fields["timestamp"]
        self.priority: int = fields.get("priority", 0)
        self.data: Any = _read("job data is", data)
        self.env = env
        self.checkpointed: Any = fields.get("checkpoint")
        self._sender = sender
        self._sequence = sequence

    @cached_property
    def telemetry(self) -> Telemetry | None:
        """As above; most jobs never ask."""
        return Telemetry.of(self.opts)

    @cached_property
    def correlation_id(self) -> str:
        """As above."""
        given = self.opts.get(correlation.OPTION), self.opts.get("tm"), self.opts.get("omc")
        return correlation.of_job(self.queue, self.id, correlation.of_producer(*given))

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
        self.data = value
        self._sender.send(FrameType.UPDATE_DATA, self._sequence, data)

    def checkpoint(self, state: Any) -> None:
        """Keep a small state with the job: its next attempt finds it as `checkpointed`.

        Whatever ends this attempt (a stop, a reload, a crash, a kill, a machine that dies) but the
        job's own end, after which it is gone. When this returns it is out of this process; it is
        in Redis about 0.1 s later, and before anything that is written of the attempt's end. The
        last one counts.

        Raises:
            TypeError, ValueError: it has no JSON form, or is over 64 KiB.
        """
        data = _bounded("checkpoint", state, MAX_CHECKPOINT_BYTES)
        self._sender.send(FrameType.CHECKPOINT, self._sequence, data)

    def check(self) -> None:
        """Raise `Cancelled`, `Interrupted` or `SoftTimeout` if one of them is due; else cheap.

        They come by themselves. This is for a processor that they cannot reach: one that blocks
        signals, works in threads of its own, or caught them by accident. Except for a soft
        timeout, which is raised once, they are raised here as long as the job runs on.
        """
        self._sender.check()

    def add(self, name: str, data: Any = None, *, queue: str | None = None, **options: Any) -> str:
        """Add a job to this queue, or another; returns its id when Redis has it.

        It stays when this attempt fails: give it a `job_id`, and an attempt that is repeated does
        not add it twice. In an `async` processor it holds the loop up for a round trip. Of many
        threads that add at a time, 16 wait for Redis and the others for their turn.

        Args:
            name: its name.
            data: any JSON value.
            queue: another queue, which the settings of this one name (`--allow-queue`).
            options: as for `Queue.add`; without `telemetry` and `correlation_id` it has
                this job's.

        Raises:
            InvalidInput: one of its kinds: a name, data or option that cannot be.
            RedisUnavailable: Redis cannot take it now.
            TorilError: it was not added for another reason.
        """
        if self.telemetry is not None and "telemetry" not in options:
            options["telemetry"] = self.telemetry.handed_on()
        request = asking.add_request(name, data, options, queue)
        return str(asking.answer(self._sender.call(self._sequence, request)))

    def children_values(self) -> dict[str, Any]:
        """What the children that have completed returned, by their full keys `prefix:queue:id`.

        In an `async` processor it holds the loop up for a round trip, as do the next two.

        Raises:
            RedisUnavailable: Redis cannot be asked now.
            TorilError: a value is no JSON, or all together are over the limit on job data.
        """
        found: dict[str, Any] = self._ask("children_values")
        return found

    def ignored_children_failures(self) -> dict[str, str]:
        """Why children failed whose failure does not count; likewise."""
        found: dict[str, str] = self._ask("ignored_children_failures")
        return found

    def unprocessed_children(self) -> list[str]:
        """Full keys of the children that are still waited for; likewise."""
        found: list[str] = self._ask("unprocessed_children")
        return found

    def _ask(self, method: str) -> Any:
        reply = self._sender.call(self._sequence, asking.request(method))
        return asking.answer(reply)

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


def _read(what: str, text: bytes) -> Any:
    try:
        return from_json(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableJob(f"{what} not JSON: {error}") from None
