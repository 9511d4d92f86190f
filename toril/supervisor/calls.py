"""Where runtime's words become sandbox's: claim to call, settings to zygote; pure."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from toril.call import Call
from toril.runtime.retry import Policy
from toril.sandbox.launcher import ZygoteSpec
from toril.sandbox.levels import STRICT
from toril.supervisor.backlog import BATCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toril.runtime.claim import Claim
    from toril.sandbox.limits import Limits
    from toril.supervisor.settings import QueueSettings


class _Header(msgspec.Struct):
    id: str | msgspec.Raw
    name: str | msgspec.Raw
    queue: str
    attempts_made: int
    attempts_started: int
    timestamp: int
    priority: int
    opts: msgspec.Raw
    checkpoint: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_encode = msgspec.json.Encoder().encode


def as_call(claim: Claim, queue: str) -> Call:
    """The call for a claim; data and options stay the text they are in Redis."""
    header = _Header(
        claim.id,
        claim.name,
        queue,
        claim.attempts_made,
        claim.attempts_started,
        claim.timestamp_ms,
        claim.priority,
        msgspec.Raw(claim.raw_opts),
        msgspec.UNSET if claim.checkpoint is None else msgspec.Raw(claim.checkpoint),
    )
    return Call(claim.id, claim.name, _encoded(header, claim), claim.data)


def _encoded(header: _Header, claim: Claim) -> bytes:
    try:
        return _encode(header)
    except UnicodeEncodeError:
        # Bytes of a foreign id or name that are no UTF-8: escaped, as only `json` writes them.
        header.id, header.name = (
            msgspec.Raw(json.dumps(text).encode()) for text in (claim.id, claim.name)
        )
        return _encode(header)


def policy_of(queue: QueueSettings) -> Policy:
    """What a queue's settings bring to the decision about an attempt that ended."""
    return Policy(
        max_crashes=queue.max_crashes,
        on_crash=queue.on_crash,
        max_started_attempts=queue.max_started_attempts,
        keep_completed=queue.keep_completed,
        keep_failed=queue.keep_failed,
        metrics_size=queue.metrics_size,
    )


def limits_of(queue: QueueSettings) -> Limits:
    """What the children of a queue may use; at `strict` each runs one job."""
    return replace(queue.limits, max_jobs=1) if queue.level in STRICT else queue.limits


def zygote_spec(queue: QueueSettings) -> ZygoteSpec:
    """What a zygote is told; the working directory is on the processor's import path."""
    directory = os.getcwd()  # noqa: PTH109 - a string goes over the wire
    path = [directory, *(entry for entry in sys.path if entry and entry != directory)]
    return ZygoteSpec(
        queue=queue.name,
        processor=queue.processor,
        level=queue.level,
        limits=limits_of(queue),
        python_path=path,
        working_directory=directory,
        allow=queue.allow,
        waive=queue.waive,
        threads=queue.threads,
        import_in="child" if queue.level in STRICT else queue.import_in,
        backoff=queue.backoff or "",
        child_uid=queue.child_uid,
        preload=queue.preload,
        hidden=queue.hidden,
    )


def listeners_spec(queue: QueueSettings) -> ZygoteSpec:
    """What the zygote of a queue's listeners is told: their child has the limits of a job's.

    The time of one event is kept by who hands events over; a call, which is a batch of them, has
    theirs together.
    """
    limits = replace(
        queue.limits,
        timeout_s=queue.listener_timeout_s * (BATCH + 1),
        soft_timeout_s=None,
        cpu_s=None,
    )
    return replace(
        zygote_spec(queue),
        queue=f"{queue.name} listeners",
        processor=queue.listeners or "",
        limits=limits,
        is_listeners=True,
        backoff="",
    )


def listeners_call(queue: str, texts: Sequence[str]) -> Call:
    """A batch of events; each is a text in the text, so that none can break into another."""
    fields = {
        "id": "",
        "name": "events",
        "queue": queue,
        "attempts_made": 0,
        "attempts_started": 0,
        "timestamp": 0,
    }
    return Call("", "events", json.dumps(fields).encode(), msgspec.json.encode(texts))
