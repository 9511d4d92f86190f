"""A processor that has imported what heavy processors import, and an application of some size."""

from __future__ import annotations

from typing import Any

from benchmarks import imaging

RECORDS = [{"id": number, "name": f"record {number}"} for number in range(20_000)]
"""60 000 objects: a dictionary, a name and mostly a number each; chosen: a web application with
its models and routes has as many."""


def touch(job: Any) -> int:
    """Use a little of it."""
    return imaging.touch(job) + len(RECORDS[7])
