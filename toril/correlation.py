"""The correlation id: what everything that one request sets off has in common in the logs.

A producer gives it with a job (`correlation_id`, stored as the option `correlationId`), or its
trace does; else it is made from queue and job id. Jobs that a running job adds have that job's.
"""

from __future__ import annotations

import re

OPTION = "correlationId"
"""Its name in a job's stored options; BullMQ keeps options that it does not know as they are."""

MAX_CHARS = 200
"""Longest one; chosen: it is repeated on every line about the job."""

_TRACE = re.compile(r'"traceparent"\s*:\s*"[0-9a-f]{2}-([0-9a-f]{32})-')
"""The trace id in what OpenTelemetry's propagator stores. Source: W3C Trace Context."""


def of_producer(given: object, metadata: object, omits_context: object) -> str:
    """What a job's stored options say; empty where they say nothing that can be used.

    Args:
        given: the option of that name, whatever somebody stored there.
        metadata: the trace that the producer stored (`tm`), likewise.
        omits_context: the job is not to be linked with that trace (`omc`).
    """
    if isinstance(given, str) and 0 < len(given) <= MAX_CHARS:
        return given
    if isinstance(metadata, str) and not omits_context:
        found = _TRACE.search(metadata)
        return found[1] if found else ""
    return ""


def of_job(queue: str, job_id: str, of_its_producer: str = "") -> str:
    """The one of a job: its producer's, or one that is made here."""
    return of_its_producer or f"{queue}:{job_id}"[:MAX_CHARS]
