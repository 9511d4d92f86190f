"""What stands in Redis and on the machine after a run, written beside what the ledger was told."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from tests.chaos.causes import DECLARED
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


def complete_history(ledger: sqlite3.Connection) -> None:
    """Add the attempts of which toril knows nothing: the event stream tells when each ended.

    What neither worker says, why an attempt is to be repeated, follows from what it declared.
    """
    known = set(ledger.execute("SELECT job_id, attempt FROM attempt"))
    harms = {
        (job_id, attempt): harm
        for job_id, attempt, harm in ledger.execute(
            "SELECT job_id, attempt, harm FROM declared JOIN started USING (ticket, attempt)"
        )
    }
    verdict_of = {harm: verdict for verdict, harm in DECLARED.items()}
    ledger.execute("BEGIN")
    for (job_id, attempt), events in _after_each_start(ledger).items():
        if (job_id, attempt) in known or not events:
            continue
        told = verdict_of.get(harms.get((job_id, attempt), ""), "unexplained")
        verdict = next((END_OF[name] for name, _at_ms in events if name in END_OF), told)
        note(ledger, "attempt", job_id, attempt, verdict, events[0][1])
    ledger.execute("COMMIT")


END_OF = {"completed": "returned", "stalled": "stalled"}
"""Event → the verdict of the attempt that it ends; of the others the event says nothing."""


def _after_each_start(ledger: sqlite3.Connection) -> dict[tuple[str, int], list[tuple[str, float]]]:
    """(job, attempt) → the events between this start and the next."""
    found: dict[tuple[str, int], list[tuple[str, float]]] = {}
    starts: Counter[str] = Counter()
    for name, job_id, at_ms in ledger.execute(
        "SELECT name, job_id, at_ms FROM event WHERE job_id != '' ORDER BY number"
    ):
        if name == "active":
            starts[job_id] += 1
            found[job_id, starts[job_id]] = []
        elif starts[job_id]:
            found[job_id, starts[job_id]].append((name, at_ms))
    return found


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
