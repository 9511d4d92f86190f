"""What happened, told by those it happened to, in a file that no fault of a run touches.

Producers, job children and the run itself append; nobody changes a row. Every row is on disk before
whoever wrote it goes on, so that a killed process has told all it did. Times are milliseconds since
1970 by the one clock of this machine, which is the server's too.
"""

from __future__ import annotations

import os
import sqlite3
import time
from functools import cache
from pathlib import Path

BUSY_S = 30.0
"""How long a writer waits for the others; chosen: a stopped process may hold it for long."""

SCHEMA = """
CREATE TABLE submitted (ticket TEXT PRIMARY KEY, kind TEXT, delay_ms INT, at_ms REAL);
CREATE TABLE acked (ticket TEXT, job_id TEXT, at_ms REAL);
CREATE TABLE started (ticket TEXT, job_id TEXT, attempt INT, pid INT, at_ms REAL);
CREATE TABLE declared (ticket TEXT, attempt INT, harm TEXT, at_ms REAL);
CREATE TABLE effect (ticket TEXT, attempt INT, was_taken INT, at_ms REAL);
CREATE TABLE finished (ticket TEXT, attempt INT, at_ms REAL);
CREATE TABLE guarded (ticket TEXT PRIMARY KEY, attempt INT);
CREATE TABLE process (pid INT, ticks INT, what TEXT);
CREATE TABLE fault (name TEXT, target TEXT, on_ms REAL, off_ms REAL);

CREATE TABLE fact (name TEXT PRIMARY KEY, value REAL);
CREATE TABLE job (
    job_id TEXT PRIMARY KEY, ticket TEXT, kind TEXT, verdict TEXT, worker TEXT, started INT,
    attempts INT, crashes INT, stalls INT, interruptions INT, returned INT
);
CREATE TABLE place (name TEXT, job_id TEXT);
CREATE TABLE attempt (job_id TEXT, attempt INT, verdict TEXT, ended_ms REAL);
CREATE TABLE event (number INTEGER PRIMARY KEY, name TEXT, job_id TEXT, at_ms REAL);
CREATE TABLE key (name TEXT);
CREATE TABLE left_over (what TEXT, name TEXT);
CREATE TABLE alive (worker TEXT);
"""
"""First what was written while it ran, then what was found in Redis and on the machine afterwards.

`guarded` stands for a store of the user's own that refuses late writers by their fencing number.
"""


def now_ms() -> float:
    """The time of a row."""
    return time.time() * 1000


def new_ledger(path: Path | str = ":memory:") -> sqlite3.Connection:
    """An empty ledger."""
    connection = open_ledger(path)
    connection.executescript(SCHEMA)
    return connection


def open_ledger(path: Path | str) -> sqlite3.Connection:
    """A ledger that is there; every statement is a transaction of its own, synced to disk."""
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def note(ledger: sqlite3.Connection, table: str, *values: object) -> None:
    """Append one row; its values in the order of the table's columns."""
    marks = ", ".join("?" * len(values))
    ledger.execute(f"INSERT INTO {table} VALUES ({marks})", values)


def write_guarded(ledger: sqlite3.Connection, ticket: str, attempt: int) -> bool:
    """Write to the user's store, unless a later attempt has; was it taken?"""
    taken = ledger.execute(
        "INSERT INTO guarded VALUES (?, ?) ON CONFLICT (ticket) DO UPDATE "
        "SET attempt = excluded.attempt WHERE excluded.attempt > attempt",
        (ticket, attempt),
    )
    return taken.rowcount == 1


@cache
def _of_process(pid: int, path: str) -> sqlite3.Connection:
    del pid  # A connection does not survive a fork.
    return open_ledger(path)


def own_ledger() -> sqlite3.Connection:
    """The ledger that CHAOS_LEDGER names, opened once in each process."""
    return _of_process(os.getpid(), os.environ["CHAOS_LEDGER"])


def start_ticks(pid: int) -> int | None:
    """When a process started, in the kernel's ticks; with the pid it names one process for ever."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
