"""The promises as questions to the ledger of a run: each finds what breaks it, so nothing is found.

`PROMISES` holds them all. Each is proved by hand-made ledgers that break it, in
`test_promises.py`. A ledger checker's L7 asks for effects that happen exactly once; here it is a
store of the user's, guarded by the fencing number, that has to agree with what Redis recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.chaos.causes import cause_of
from tests.chaos.jobs import ALWAYS, KINDS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

SAME_MOMENT_MS = 5
"""Two readings of one moment: the server cuts its own to milliseconds."""

REVIVAL_MS = 15_000
"""How long work may rest after a fault; chosen: a socket's timeout of 5 s, the longest pause before
Redis is tried again, a pool's back-off and a lock."""

HISTORY_MOST = 10
"""Attempts that a job's history keeps; given by `runtime/lua/lib/history.lua`."""

Found = list[tuple[Any, ...]]


def l1_nothing_acknowledged_is_lost(ledger: sqlite3.Connection) -> Found:
    """L1: every job whose add was acknowledged is there, and has ended."""
    return _found(
        ledger,
        "SELECT ticket, job_id FROM acked WHERE job_id NOT IN (SELECT job_id FROM job)"
        " OR job_id NOT IN (SELECT job_id FROM place WHERE name IN ('completed', 'failed'))",
    )


def l2_no_job_comes_from_nowhere(ledger: sqlite3.Connection) -> Found:
    """L2: every job was submitted, and is there once, under the id that was acknowledged."""
    return (
        _found(
            ledger,
            "SELECT 'never submitted', job_id FROM job"
            " WHERE ticket NOT IN (SELECT ticket FROM submitted)",
        )
        + _found(
            ledger,
            "SELECT 'added twice', ticket FROM job GROUP BY ticket HAVING count(*) > 1",
        )
        + _found(
            ledger,
            "SELECT 'under another id', acked.ticket FROM acked JOIN job USING (job_id)"
            " WHERE job.ticket != acked.ticket",
        )
    )


def l2_no_attempt_comes_from_nowhere(ledger: sqlite3.Connection) -> Found:
    """L2: whatever finished had started; no number was given out twice, none was made up."""
    return (
        _found(
            ledger,
            "SELECT 'finished without a start', ticket, attempt FROM finished"
            " WHERE (ticket, attempt) NOT IN (SELECT ticket, attempt FROM started)",
        )
        + _found(
            ledger,
            "SELECT 'started twice', ticket, attempt FROM started"
            " GROUP BY ticket, attempt HAVING count(*) > 1",
        )
        + _found(
            ledger,
            "SELECT 'never granted', started.ticket, attempt FROM started JOIN job USING (job_id)"
            " WHERE attempt > job.started",
        )
    )


def l3_at_most_one_holder(ledger: sqlite3.Connection) -> Found:
    """L3: an attempt shows life after its successor's start only if it had lost its lock before."""
    return _found(
        ledger,
        f"""
        WITH life AS (
            SELECT ticket, attempt, max(at_ms) AS until_ms FROM (
                SELECT ticket, attempt, at_ms FROM started
                UNION ALL SELECT ticket, attempt, at_ms FROM declared
                UNION ALL SELECT ticket, attempt, at_ms FROM effect
                UNION ALL SELECT ticket, attempt, at_ms FROM finished
            ) GROUP BY ticket, attempt
        )
        SELECT one.ticket, one.attempt, later.attempt FROM started AS one
        JOIN life USING (ticket, attempt)
        JOIN started AS later ON later.ticket = one.ticket AND later.attempt > one.attempt
        WHERE later.at_ms < life.until_ms AND NOT EXISTS (
            SELECT * FROM attempt WHERE attempt.verdict = 'stalled'
            AND attempt.job_id = one.job_id AND attempt.attempt = one.attempt
            AND attempt.ended_ms <= later.at_ms + {SAME_MOMENT_MS}
        )
        """,
    )


def l4_recorded_once(ledger: sqlite3.Connection) -> Found:
    """L4: every job has one final event and stands in one place, and these are the same."""
    return (
        _found(
            ledger,
            "SELECT 'final events', job.job_id, count(event.name) FROM job LEFT JOIN event"
            " ON event.job_id = job.job_id AND event.name IN ('completed', 'failed')"
            " GROUP BY job.job_id HAVING count(event.name) != 1",
        )
        + _found(
            ledger,
            "SELECT 'places', job.job_id, group_concat(place.name) FROM job"
            " LEFT JOIN place USING (job_id) GROUP BY job.job_id HAVING count(place.name) != 1",
        )
        + _found(
            ledger,
            "SELECT event.name, 'stands in', place.name, job_id FROM event JOIN place"
            " USING (job_id) WHERE event.name IN ('completed', 'failed')"
            " AND event.name != place.name",
        )
    )


def l5_fenced(ledger: sqlite3.Connection) -> Found:
    """L5: the result in Redis is that of the last attempt that was granted, and it finished."""
    return _found(
        ledger,
        "SELECT ticket, returned, started FROM job JOIN place USING (job_id)"
        " WHERE place.name = 'completed' AND (returned IS NOT started"
        " OR (ticket, returned) NOT IN (SELECT ticket, attempt FROM finished))",
    )


def l6_every_start_has_one_end(ledger: sqlite3.Connection) -> Found:
    """L6: a job's history holds each of its last attempts once."""
    return _found(
        ledger,
        "SELECT ticket, started, group_concat(attempt.attempt) FROM job LEFT JOIN attempt"
        " USING (job_id) GROUP BY job_id HAVING count(DISTINCT attempt.attempt) != count(*)"
        f" OR count(attempt.attempt) != min(started, {HISTORY_MOST})"
        " OR coalesce(max(attempt.attempt), 0) != started",
    )


def l6_counters_agree_with_the_history(ledger: sqlite3.Connection) -> Found:
    """L6: attempts, crashes, stalls and interruptions are each what the history says; not mixed."""
    return _found(
        ledger,
        f"""
        WITH counted AS (
            SELECT job_id,
                sum(verdict IN ('crashed', 'exited', 'broke-protocol', 'disconnected')) AS crashes,
                sum(verdict = 'stalled') AS stalls,
                sum(verdict IN ('interrupted', 'lost')) AS interruptions,
                sum(verdict = 'unavailable') AS free
            FROM attempt GROUP BY job_id
        )
        SELECT ticket, job.attempts, job.crashes, job.stalls, job.interruptions, counted.*
        FROM job JOIN counted USING (job_id)
        WHERE started <= {HISTORY_MOST} AND (
            job.crashes != counted.crashes OR job.stalls != counted.stalls
            OR job.interruptions != counted.interruptions
            OR job.attempts != started - counted.crashes - counted.stalls - counted.interruptions
                - counted.free
        )
        """,
    )


def l6_no_needless_repeat(ledger: sqlite3.Connection) -> Found:
    """L6: every attempt that did not return was harmed, by itself or by a fault of the run."""
    ended = _found(
        ledger,
        "SELECT ticket, attempt.attempt, attempt.verdict, ended_ms, pid, harm FROM attempt"
        " JOIN job USING (job_id) LEFT JOIN started USING (ticket, attempt)"
        " LEFT JOIN declared USING (ticket, attempt) WHERE attempt.verdict != 'returned'",
    )
    faults = _found(ledger, "SELECT name, target, on_ms, off_ms FROM fault")
    return [end for end in ended if cause_of(end[2:], faults) is None]


def l6_jobs_end_as_their_kind_says(ledger: sqlite3.Connection) -> Found:
    """L6: what always harms itself failed; all else completed, or spent what its kind allows."""
    (max_crashes,) = ledger.execute("SELECT value FROM fact WHERE name = 'max_crashes'").fetchone()
    ended = _found(
        ledger,
        "SELECT ticket, kind, place.name, attempts, crashes FROM job JOIN place USING (job_id)"
        " WHERE place.name IN ('completed', 'failed')",
    )
    return [end for end in ended if not _is_as_expected(ledger, end, max_crashes)]


def l7_guarded_store_agrees(ledger: sqlite3.Connection) -> Found:
    """L7: a store that refuses lower fencing numbers holds the effect of the recorded attempt."""
    return _found(
        ledger,
        "SELECT ticket, returned, guarded.attempt FROM job JOIN place USING (job_id)"
        " LEFT JOIN guarded USING (ticket)"
        " WHERE place.name = 'completed' AND guarded.attempt IS NOT returned",
    )


def l8_rate_is_kept(ledger: sqlite3.Connection) -> Found:
    """L8: in every window of length d at most `burst + d * rate` claims, by the server's clock.

    That is what a bucket says that was full at the start and never lends.
    """
    facts = dict(ledger.execute("SELECT name, value FROM fact"))
    level: float = facts["burst"]
    last_ms: float | None = None
    found: Found = []
    for job_id, at_ms in _found(
        ledger, "SELECT job_id, at_ms FROM event WHERE name = 'active' ORDER BY number"
    ):
        since_ms = 0 if last_ms is None else at_ms - last_ms
        level = min(facts["burst"], level + since_ms * facts["tokens_per_s"] / 1000) - 1
        last_ms = at_ms
        if level < -SAME_MOMENT_MS * facts["tokens_per_s"] / 1000:
            found.append((job_id, at_ms, level))
    return found


def l10_nothing_is_left_over(ledger: sqlite3.Connection) -> Found:
    """L10: no process, no file, no lock, nothing stalled, no key that nobody knows."""
    return _found(ledger, "SELECT what, name FROM left_over") + _found(
        ledger,
        "SELECT 'key', name FROM key WHERE name NOT IN"
        " ('id', 'meta', 'events', 'pc', 'marker', 'completed', 'failed', 'toril:limit',"
        " 'stalled-check')"
        " AND name NOT LIKE 'toril:last:%' AND name NOT LIKE 'metrics:%'"
        " AND name NOT LIKE 'toril:fleet%'"
        " AND name NOT IN (SELECT job_id FROM job)"
        " AND name NOT IN (SELECT job_id || ':logs' FROM job)",
    )


def l11_work_goes_on_after_every_fault(ledger: sqlite3.Connection) -> Found:
    """L11: once a fault is over, no long silence while there is work."""
    return _found(
        ledger,
        f"""
        SELECT name, target, off_ms FROM fault WHERE NOT EXISTS (
            SELECT * FROM started WHERE started.at_ms BETWEEN off_ms AND off_ms + {REVIVAL_MS}
        ) AND EXISTS (
            SELECT * FROM submitted JOIN acked USING (ticket) LEFT JOIN started USING (ticket)
            WHERE submitted.at_ms + submitted.delay_ms < off_ms
            AND coalesce(started.at_ms, 1e18) > off_ms + {REVIVAL_MS}
            AND coalesce(started.attempt, 1) = 1
        )
        """,
    )


def l11_every_supervisor_works_in_the_end(ledger: sqlite3.Connection) -> Found:
    """L11: none is deaf; each that is alive has done a job that came after the last fault."""
    return _found(
        ledger,
        "SELECT worker FROM alive WHERE worker NOT IN"
        " (SELECT worker FROM job WHERE ticket LIKE 'closing-%' AND worker IS NOT NULL)",
    )


def delays_are_kept(ledger: sqlite3.Connection) -> Found:
    """Beyond the list: no delayed job starts before it is due."""
    return _found(
        ledger,
        "SELECT ticket, attempt, started.at_ms - submitted.at_ms, delay_ms FROM started"
        " JOIN submitted USING (ticket)"
        f" WHERE started.at_ms < submitted.at_ms + delay_ms - {SAME_MOMENT_MS}",
    )


PROMISES: tuple[Callable[[sqlite3.Connection], Found], ...] = (
    l1_nothing_acknowledged_is_lost,
    l2_no_job_comes_from_nowhere,
    l2_no_attempt_comes_from_nowhere,
    l3_at_most_one_holder,
    l4_recorded_once,
    l5_fenced,
    l6_every_start_has_one_end,
    l6_counters_agree_with_the_history,
    l6_no_needless_repeat,
    l6_jobs_end_as_their_kind_says,
    l7_guarded_store_agrees,
    l8_rate_is_kept,
    l10_nothing_is_left_over,
    l11_work_goes_on_after_every_fault,
    l11_every_supervisor_works_in_the_end,
    delays_are_kept,
)


def _found(ledger: sqlite3.Connection, question: str) -> Found:
    return [tuple(row) for row in ledger.execute(question)]


def _is_as_expected(ledger: sqlite3.Connection, end: tuple[Any, ...], max_crashes: int) -> bool:
    ticket, kind, place, attempts, crashes = end
    always_fails = KINDS[kind].harmed == ALWAYS
    if place == "completed":
        return not always_fails
    is_spent = attempts >= KINDS[kind].options.get("attempts", 1)
    return always_fails or crashes >= max_crashes or (is_spent and _is_timed_out(ledger, ticket))


def _is_timed_out(ledger: sqlite3.Connection, ticket: str) -> bool:
    question = (
        "SELECT 1 FROM attempt JOIN job USING (job_id)"
        " WHERE ticket = ? AND attempt.verdict = 'timed-out'"
    )
    return ledger.execute(question, (ticket,)).fetchone() is not None
