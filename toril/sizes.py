"""How large what crosses a wall may be: between producer, Redis, supervisor and child."""

from __future__ import annotations

MAX_DATA_BYTES = 16 * 1024 * 1024
"""Largest job data, bytes of JSON text; chosen: one frame, one Redis value, no surprise."""

MAX_NAME_BYTES = 4 * 1024
"""Largest id and largest name of a job; chosen: both fit into a call however they are escaped."""

MAX_OPTS_BYTES = 64 * 1024
"""Largest options JSON of a job, bytes; chosen: the supervisor parses it on its loop."""

MAX_CHECKPOINT_BYTES = 64 * 1024
"""Largest state that an attempt may leave for the next, bytes of JSON; chosen: every claim of the
job reads it, and what is larger belongs into a store of the job's own."""
