"""Where runtime's words become sandbox's: claim to call, settings to zygote; pure."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from toril.call import Call
from toril.events import JobSettled, SettlementRefused
from toril.runtime.retry import words
from toril.sandbox.launcher import ZygoteSpec

if TYPE_CHECKING:
    from toril.runtime.claim import Claim
    from toril.runtime.store import Ending
    from toril.supervisor.settings import QueueSettings


def as_call(claim: Claim, queue: str) -> Call:
    """The call for a claim; data and options stay the text they are in Redis."""
    fields = {
        "id": claim.id,
        "name": claim.name,
        "queue": queue,
        "attempts_made": claim.attempts_made,
        "attempts_started": claim.attempts_started,
        "timestamp": claim.timestamp_ms,
        "priority": claim.priority,
    }
    header = json.dumps(fields).encode()[:-1] + b',"opts":' + claim.raw_opts + b"}"
    return Call(job_id=claim.id, name=claim.name, header=header, data=claim.data)


def zygote_spec(queue: QueueSettings) -> ZygoteSpec:
    """What a zygote is told; the working directory is on the processor's import path."""
    directory = os.getcwd()  # noqa: PTH109 - a string goes over the wire
    path = [directory, *(entry for entry in sys.path if entry and entry != directory)]
    return ZygoteSpec(
        queue=queue.name,
        processor=queue.processor,
        level=queue.level,
        limits=queue.limits,
        python_path=path,
        working_directory=directory,
        env_names=queue.env,
    )


def settlement_refused(queue: str, ending: Ending, reason: str) -> SettlementRefused:
    """What the log says of an end that Redis did not take."""
    return SettlementRefused(queue, ending.claim.id, ending.outcome.verdict.value, reason)


def settled_event(queue: str, ending: Ending) -> JobSettled:
    """What the log says of a settled attempt."""
    claim, outcome = ending.claim, ending.outcome
    is_first = claim.attempts_started == 1
    wait_ms = claim.processed_on_ms - claim.timestamp_ms if is_first else 0
    return JobSettled(
        queue=queue,
        job_id=claim.id,
        name=claim.name,
        attempt=claim.attempts_started,
        verdict=outcome.verdict.value,
        settled=words(ending.settlement),
        wait_ms=max(wait_ms, 0),
        run_ms=outcome.usage.wall_ms,
        cpu_ms=outcome.usage.cpu_ms,
        reason=outcome.message,
    )
