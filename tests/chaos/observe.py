"""What stands in Redis and on the machine after a run, written beside what the ledger was told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.chaos.ledger import note, start_ticks
from toril.runtime.history import parse_history

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    import redis

    from tests.chaos.pens import Terms

BASE = "bull:chaos:"
LISTS = ("wait", "active", "paused")
SETS = ("prioritized", "delayed", "waiting-children", "completed", "failed")


def note_terms(ledger: sqlite3.Connection, terms: Terms) -> None:
    """What the promises have to know of the settings."""
    for name in ("lock_ms", "tokens_per_s", "burst", "max_crashes"):
        note(ledger, "fact", name, getattr(terms, name))


def note_redis(ledger: sqlite3.Connection, client: redis.Redis) -> None:
    """The queue as it is now: its keys, where its jobs are, what each says, every event."""
    ledger.execute("BEGIN")
    names = sorted(name.decode() for name in client.scan_iter(count=1000))
    for name in names:
        note(ledger, "key", name.removeprefix(BASE))
        if client.type(name) == b"hash" and client.hexists(name, "data"):
            _note_job(ledger, client, name.removeprefix(BASE))
    for place in LISTS:
        for job_id in client.lrange(BASE + place, 0, -1):
            note(ledger, "place", place, job_id.decode())
    for place in SETS:
        for job_id in client.zrange(BASE + place, 0, -1):
            note(ledger, "place", place, job_id.decode())
    for entry_id, fields in client.xrange(BASE + "events"):
        job_id = fields.get(b"jobId", b"").decode()
        at_ms = int(entry_id.partition(b"-")[0])
        note(ledger, "event", None, fields[b"event"].decode(), job_id, at_ms)
    ledger.execute("COMMIT")


def note_left_over(ledger: sqlite3.Connection, folder: Path) -> None:
    """Processes of the run that are still there, and files in its folder for temporary ones."""
    for pid, ticks, what in ledger.execute("SELECT DISTINCT * FROM process").fetchall():
        if start_ticks(pid) == ticks:
            note(ledger, "left_over", "process", f"{what}: {pid}")
    for path in sorted(folder.iterdir()):
        note(ledger, "left_over", "file", str(path))


def _note_job(ledger: sqlite3.Connection, client: redis.Redis, job_id: str) -> None:
    fields = {
        name.decode(): value.decode(errors="replace")
        for name, value in client.hgetall(BASE + job_id).items()
    }
    returned = json.loads(fields.get("returnvalue", "null"))
    counters = [int(fields.get(name, 0)) for name in _COUNTERS]
    note(
        ledger,
        "job",
        job_id,
        json.loads(fields["data"])["ticket"],
        fields["name"],
        fields.get("t:verdict"),
        fields.get("pb"),
        *counters,
        returned["attempt"] if returned else None,
    )
    for attempt in parse_history(fields.get("t:history", "")):
        note(ledger, "attempt", job_id, attempt.attempt, attempt.verdict, attempt.ended_ms)


_COUNTERS = ("ats", "atm", "t:crashes", "stc", "t:interruptions")
