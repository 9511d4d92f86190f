"""A checker that cannot fail is worth nothing: each promise finds the ledger that breaks it."""

from __future__ import annotations

import pytest

from tests.chaos.causes import DECLARED, NEARBY, TO_ITSELF
from tests.chaos.faults import FAULTS, FLEET_FAULTS
from tests.chaos.jobs import KINDS
from tests.chaos.ledger import new_ledger, write_guarded
from tests.chaos.observe import complete_history
from tests.chaos.promises import (
    PROMISES,
    REVIVAL_MS,
    delays_are_kept,
    l1_nothing_acknowledged_is_lost,
    l2_no_attempt_comes_from_nowhere,
    l2_no_job_comes_from_nowhere,
    l3_at_most_one_holder,
    l4_recorded_once,
    l5_fenced,
    l6_counters_agree_with_the_history,
    l6_every_start_has_one_end,
    l6_jobs_end_as_their_kind_says,
    l6_no_needless_repeat,
    l7_guarded_store_agrees,
    l8_rate_is_kept,
    l10_nothing_is_left_over,
    l11_every_supervisor_works_in_the_end,
    l11_work_goes_on_after_every_fault,
)

SOUND = """
INSERT INTO fact VALUES ('burst', 2), ('tokens_per_s', 1), ('max_crashes', 4), ('lock_ms', 1500);
INSERT INTO submitted VALUES ('a', 'ok', 0, 0), ('b', 'slow', 0, 0), ('closing-0', 'slow', 0, 9000);
INSERT INTO acked VALUES ('a', '1', 5), ('b', 'b', 5), ('closing-0', '3', 9005);
INSERT INTO started VALUES ('a', '1', 1, 71, 10), ('b', 'b', 1, 72, 20), ('b', 'b', 2, 73, 5000),
    ('closing-0', '3', 1, 73, 9010);
INSERT INTO effect VALUES ('a', 1, 1, 12), ('b', 1, 1, 4900), ('b', 2, 1, 5010);
INSERT INTO guarded VALUES ('a', 1), ('b', 2), ('closing-0', 1);
INSERT INTO finished VALUES ('a', 1, 15), ('b', 1, 5100), ('b', 2, 5200), ('closing-0', 1, 9020);
INSERT INTO fault VALUES ('supervisor-stop', 'w1', 100, 4000);
INSERT INTO alive VALUES ('w2');
INSERT INTO job VALUES ('1', 'a', 'ok', 'returned', 'w1', 1, 1, 0, 0, 0, 1),
    ('b', 'b', 'slow', 'returned', 'w2', 2, 1, 0, 1, 0, 2),
    ('3', 'closing-0', 'slow', 'returned', 'w2', 1, 1, 0, 0, 0, 1);
INSERT INTO place VALUES ('completed', '1'), ('completed', 'b'), ('completed', '3');
INSERT INTO attempt VALUES ('1', 1, 'returned', 16), ('b', 1, 'stalled', 3000),
    ('b', 2, 'returned', 5201), ('3', 1, 'returned', 9021);
INSERT INTO event VALUES (1, 'active', '1', 9), (2, 'completed', '1', 16), (3, 'active', 'b', 19),
    (4, 'stalled', 'b', 3000), (5, 'active', 'b', 4999), (6, 'completed', 'b', 5201),
    (7, 'active', '3', 9009), (8, 'completed', '3', 9021);
INSERT INTO key VALUES ('1'), ('b'), ('3'), ('b:logs'), ('id'), ('meta'), ('events'), ('completed'),
    ('toril:limit'), ('toril:last:abc');
"""
"""Three jobs: `b` stalled when its supervisor stood still, and its first attempt lived on."""

BREAKS = [
    (l1_nothing_acknowledged_is_lost, "DELETE FROM job WHERE job_id = '1'"),
    (l1_nothing_acknowledged_is_lost, "UPDATE place SET name = 'active' WHERE job_id = '1'"),
    (l1_nothing_acknowledged_is_lost, "DELETE FROM place WHERE job_id = '1'"),
    (l2_no_job_comes_from_nowhere, "DELETE FROM submitted WHERE ticket = 'a'"),
    (
        l2_no_job_comes_from_nowhere,
        (
            "INSERT INTO job SELECT '9', ticket, kind, verdict, worker, started, attempts, crashes,"
            " stalls, interruptions, returned FROM job WHERE job_id = '1'"
        ),
    ),
    (l2_no_job_comes_from_nowhere, "UPDATE acked SET job_id = '3' WHERE ticket = 'a'"),
    (l2_no_attempt_comes_from_nowhere, "INSERT INTO finished VALUES ('a', 2, 30)"),
    (l2_no_attempt_comes_from_nowhere, "INSERT INTO started VALUES ('a', '1', 1, 74, 30)"),
    (l2_no_attempt_comes_from_nowhere, "INSERT INTO started VALUES ('a', '1', 2, 74, 30)"),
    (l3_at_most_one_holder, "DELETE FROM attempt WHERE verdict = 'stalled'"),
    (l3_at_most_one_holder, "UPDATE attempt SET ended_ms = 5010 WHERE verdict = 'stalled'"),
    (l3_at_most_one_holder, "UPDATE attempt SET verdict = 'interrupted' WHERE verdict = 'stalled'"),
    (l4_recorded_once, "INSERT INTO event VALUES (9, 'completed', '1', 17)"),
    (l4_recorded_once, "INSERT INTO event VALUES (9, 'failed', '1', 17)"),
    (l4_recorded_once, "DELETE FROM event WHERE name = 'completed' AND job_id = '1'"),
    (l4_recorded_once, "INSERT INTO place VALUES ('wait', '1')"),
    (l4_recorded_once, "DELETE FROM place WHERE job_id = '1'"),
    (l4_recorded_once, "UPDATE place SET name = 'failed' WHERE job_id = '1'"),
    (l5_fenced, "UPDATE job SET returned = 1 WHERE job_id = 'b'"),
    (l5_fenced, "UPDATE job SET returned = NULL WHERE job_id = 'b'"),
    (l5_fenced, "DELETE FROM finished WHERE ticket = 'b' AND attempt = 2"),
    (l6_every_start_has_one_end, "DELETE FROM attempt WHERE verdict = 'stalled'"),
    (l6_every_start_has_one_end, "INSERT INTO attempt VALUES ('1', 1, 'returned', 17)"),
    (l6_every_start_has_one_end, "DELETE FROM attempt WHERE job_id = '1'"),
    (l6_counters_agree_with_the_history, "UPDATE job SET attempts = 2 WHERE job_id = 'b'"),
    (l6_counters_agree_with_the_history, "UPDATE job SET crashes = 1 WHERE job_id = 'b'"),
    (l6_counters_agree_with_the_history, "UPDATE job SET stalls = 0 WHERE job_id = 'b'"),
    (l6_counters_agree_with_the_history, "UPDATE job SET interruptions = 1 WHERE job_id = 'b'"),
    (l6_no_needless_repeat, "DELETE FROM fault"),
    (l6_no_needless_repeat, "UPDATE fault SET name = 'child-kill'"),
    (l6_no_needless_repeat, "UPDATE attempt SET ended_ms = 99 WHERE verdict = 'stalled'"),
    (l6_no_needless_repeat, "UPDATE attempt SET verdict = 'raised' WHERE verdict = 'stalled'"),
    (l6_jobs_end_as_their_kind_says, "UPDATE place SET name = 'failed' WHERE job_id = '1'"),
    (l6_jobs_end_as_their_kind_says, "UPDATE job SET kind = 'raise' WHERE job_id = '1'"),
    (l6_jobs_end_as_their_kind_says, "UPDATE place SET name = 'failed' WHERE job_id = '3'"),
    (l7_guarded_store_agrees, "UPDATE guarded SET attempt = 1 WHERE ticket = 'b'"),
    (l7_guarded_store_agrees, "DELETE FROM guarded WHERE ticket = 'b'"),
    (l8_rate_is_kept, "UPDATE event SET at_ms = 20 WHERE name = 'active'"),
    (l10_nothing_is_left_over, "INSERT INTO left_over VALUES ('process', 'child 7')"),
    (l10_nothing_is_left_over, "INSERT INTO key VALUES ('1:lock')"),
    (l10_nothing_is_left_over, "INSERT INTO key VALUES ('stalled')"),
    (l10_nothing_is_left_over, "INSERT INTO key VALUES ('9:logs')"),
    (
        l11_work_goes_on_after_every_fault,
        (
            f"UPDATE started SET at_ms = at_ms + 5000 + {REVIVAL_MS} WHERE at_ms > 4000;"
            " INSERT INTO submitted VALUES ('c', 'ok', 0, 10);"
            " INSERT INTO acked VALUES ('c', '4', 10)"
        ),
    ),
    (l11_every_supervisor_works_in_the_end, "INSERT INTO alive VALUES ('w3')"),
    (l11_every_supervisor_works_in_the_end, "UPDATE job SET worker = 'w1' WHERE job_id = '3'"),
    (delays_are_kept, "UPDATE submitted SET delay_ms = 30 WHERE ticket = 'a'"),
]


@pytest.fixture
def ledger():
    ledger = new_ledger()
    ledger.executescript(SOUND)
    yield ledger
    ledger.close()


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_sound_ledger_breaks_no_promise(ledger, promise):
    assert promise(ledger) == []


@pytest.mark.parametrize(
    ("promise", "harm"), BREAKS, ids=[f"{p.__name__}-{n}" for n, (p, _) in enumerate(BREAKS)]
)
def test_broken_promise_is_found(ledger, promise, harm):
    ledger.executescript(harm)
    assert promise(ledger) != []


def test_every_promise_is_broken_by_a_ledger_here():
    assert {promise for promise, _harm in BREAKS} == set(PROMISES)


def test_rate_forgives_no_window_that_a_full_bucket_would_not(ledger):
    """Two at once, then one each second, is what burst 2 at 1 per second allows; no more."""
    ledger.execute("DELETE FROM event")
    for number, at_ms in enumerate((0, 0, 1000, 2000)):
        ledger.execute("INSERT INTO event VALUES (?, 'active', '1', ?)", (number, at_ms))
    assert l8_rate_is_kept(ledger) == []
    ledger.execute("INSERT INTO event VALUES (9, 'active', '1', 2500)")
    assert l8_rate_is_kept(ledger) != []


def test_job_may_fail_of_as_many_crashes_as_are_allowed(ledger):
    ledger.executescript(
        "UPDATE job SET crashes = 4 WHERE job_id = '1';"
        "UPDATE place SET name = 'failed' WHERE job_id = '1'"
    )
    assert l6_jobs_end_as_their_kind_says(ledger) == []


def test_job_may_fail_of_a_time_limit_once_its_attempts_are_spent(ledger):
    ledger.executescript(
        "UPDATE attempt SET verdict = 'timed-out' WHERE job_id = '1';"
        "UPDATE place SET name = 'failed' WHERE job_id = '1'"
    )
    assert l6_jobs_end_as_their_kind_says(ledger) == []
    ledger.execute("UPDATE job SET attempts = 0 WHERE job_id = '1'")
    assert l6_jobs_end_as_their_kind_says(ledger) != []


@pytest.mark.parametrize(
    ("verdict", "fault"), [("crashed", "child-kill"), ("stalled", "worker-kill")]
)
def test_death_is_explained_by_the_fault_that_hit_its_own_process_only(ledger, verdict, fault):
    ledger.executescript(
        f"UPDATE attempt SET verdict = '{verdict}' WHERE verdict = 'stalled';"
        f"UPDATE fault SET name = '{fault}', target = '70 72'"
    )
    assert l6_no_needless_repeat(ledger) == []
    ledger.execute("UPDATE fault SET target = '73'")
    assert l6_no_needless_repeat(ledger) != []


def test_attempts_of_workers_without_a_history_are_told_by_the_events(ledger):
    """`b` stalled, then returned; `d` raised as it declared, `e` was tried again for nothing."""
    ledger.executescript(
        "DELETE FROM attempt;"
        "INSERT INTO started VALUES ('d', '4', 1, 71, 1), ('e', '5', 1, 71, 1);"
        "INSERT INTO declared VALUES ('d', 1, 'raise', 2);"
        "INSERT INTO event VALUES (10, 'active', '4', 1), (11, 'delayed', '4', 3),"
        " (12, 'active', '5', 1), (13, 'waiting', '5', 4);"
    )
    complete_history(ledger)
    assert sorted(ledger.execute("SELECT * FROM attempt")) == [
        ("1", 1, "returned", 16),
        ("3", 1, "returned", 9021),
        ("4", 1, "raised", 3),
        ("5", 1, "unexplained", 4),
        ("b", 1, "stalled", 3000),
        ("b", 2, "returned", 5201),
    ]


def test_causes_name_faults_and_harms_that_there_are():
    named = {name for names in NEARBY.values() for name in names} | set(TO_ITSELF.values())
    assert named <= {*FAULTS, *FLEET_FAULTS}
    assert set(DECLARED.values()) <= {kind.harm for kind in KINDS.values()}


def test_guarded_store_refuses_a_late_writer(ledger):
    assert write_guarded(ledger, "x", 1)
    assert write_guarded(ledger, "x", 2)
    assert not write_guarded(ledger, "x", 1)
    assert not write_guarded(ledger, "x", 2)
