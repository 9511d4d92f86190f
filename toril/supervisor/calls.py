"""Where runtime's words become sandbox's: claim to call, settings to zygote; pure."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from toril.call import Call
from toril.sandbox.launcher import ZygoteSpec

if TYPE_CHECKING:
    from toril.runtime.claim import Claim
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
        threads=queue.threads,
        import_in=queue.import_in,
    )
