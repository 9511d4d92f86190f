"""What a supervisor counts, as a reader of Prometheus' format finds it; and what it never shows."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from toril import events as ev
from toril.runtime.depth import Depth
from toril.runtime.retry import (
    Complete,
    Delay,
    Fail,
    GiveBack,
    Hold,
    Retry,
    WaitForChildren,
    words,
)
from toril.sandbox.processor import MAX_NAME, MAX_NAMES, Processor
from toril.sandbox.states import State
from toril.supervisor.health import Complaint, Health
from toril.supervisor.service.exposition import Family, Histogram, written
from toril.supervisor.service.metrics import FOLLOWED, Metrics, Scrape
from toril.supervisor.sight import SLOT_OF, SLOTS, Sight, slots_of

SETTLED = ev.JobSettled(
    queue="images",
    job_id="7",
    name="optimize",
    attempt=1,
    verdict="returned",
    settled="completed",
    wait_ms=30,
    run_ms=200,
    cpu_ms=150,
    reason="",
    peak_memory_bytes=20 * 2**20,
)
SIGHT = Sight(
    queue="images",
    concurrency=2,
    slots={"busy": 1, "idle": 1},
    jobs=(),
    pids=(),
    settled=3,
    unrecorded=4,
    held=5,
    lock_margin_s=22.5,
    ends={"crashed": 2, "retired": 6},
    names=frozenset({"optimize"}),
)
SCRAPE = Scrape((SIGHT,), {"images": Health()}, {}, 0.25, 0.001)


def read(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Sample → labels → value, by the parser of prometheus-client."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {}), "a series stands twice"
            found[sample.name][labels] = sample.value
    return found


def labels(**pairs: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(pairs.items()))


def scraped(*events: ev.Event, scrape: Scrape = SCRAPE):
    metrics = Metrics({"images": frozenset({"optimize"})})
    for event in events:
        metrics.hear(event)
    return read("".join(metrics.text(scrape)))


IMAGES = labels(queue="images")


def test_ends_of_attempts_are_counted_by_verdict_and_by_what_followed():
    found = scraped(
        SETTLED,
        SETTLED,
        replace(SETTLED, verdict="raised", settled="retried in 3 m 20 s"),
        replace(SETTLED, verdict="raised", settled="failed"),
    )

    assert found["bullmq_job_completed_total"] == {IMAGES: 2}
    assert found["bullmq_job_failed_total"] == {IMAGES: 1}
    assert found["toril_attempts_total"] == {
        labels(queue="images", name="optimize", verdict=verdict, settled=settled): count
        for verdict, settled, count in (
            ("returned", "completed", 2),
            ("raised", "retried", 1),
            ("raised", "failed", 1),
        )
    }


def test_durations_and_sizes_go_into_their_histograms():
    found = scraped(SETTLED, replace(SETTLED, wait_ms=None, cpu_ms=None, peak_memory_bytes=None))

    of_job = labels(queue="images", name="optimize")
    assert found["toril_job_wait_seconds_count"][IMAGES] == 1
    assert found["toril_job_wait_seconds_sum"][IMAGES] == 0.03
    assert found["toril_job_run_seconds_count"][of_job] == 2
    assert found["toril_job_cpu_seconds_sum"][of_job] == 0.15
    assert found["toril_job_memory_bytes_sum"][of_job] == 20 * 2**20
    buckets = found["toril_job_run_seconds_bucket"]
    assert buckets[labels(queue="images", name="optimize", le="0.1")] == 0
    assert buckets[labels(queue="images", name="optimize", le="0.25")] == 2
    assert buckets[labels(queue="images", name="optimize", le="+Inf")] == 2


def test_what_is_asked_at_the_scrape_is_told_as_it_is():
    depths = {"images": Depth({"waiting": 3, "failed": 1}, 12.5)}
    sick = {"images": Health((Complaint("Redis last answered 20.0 s ago"),), dropped_events=9)}

    found = scraped(scrape=dataclasses.replace(SCRAPE, depths=depths, health=sick))

    assert found["bullmq_job_count"][labels(queue="images", state="waiting")] == 3
    assert found["toril_queue_oldest_waiting_seconds"] == {IMAGES: 12.5}
    assert found["toril_slots"][labels(queue="images", state="busy")] == 1
    assert found["toril_child_restarts_total"][labels(queue="images", verdict="crashed")] == 2
    assert found["toril_lock_margin_seconds"] == {IMAGES: 22.5}
    assert found["toril_unrecorded_results"] == {IMAGES: 4}
    assert found["toril_jobs_held"] == {IMAGES: 5}
    assert found["toril_healthy"] == {IMAGES: 0}
    assert found["toril_listener_events_dropped"] == {IMAGES: 9}
    assert found["toril_loop_lag_seconds"] == {(): 0.25}
    assert found["toril_redis_round_trip_seconds"] == {(): 0.001}
    assert found["process_resident_memory_bytes"][()] > 2**20


def test_a_queue_of_which_redis_says_nothing_is_left_out_and_the_rest_stays():
    found = scraped(SETTLED)

    assert "bullmq_job_count" not in found
    assert found["bullmq_job_completed_total"] == {IMAGES: 1}


def test_counters_begin_at_zero_so_that_the_first_event_shows():
    assert scraped()["bullmq_job_failed_total"] == {IMAGES: 0}


def test_other_events_are_counted_or_cost_nothing():
    found = scraped(
        ev.LockLost("images", "1"),
        ev.StalledRecovered("images", ("1", "2")),
        ev.RedisLost("images", "gone"),
        ev.SettlementRefused("images", "1", "returned", "no"),
        ev.JobOutput("images", "1", "stdout", "line"),
    )

    assert found["toril_locks_lost_total"] == {IMAGES: 1}
    assert found["toril_stalled_recovered_total"] == {IMAGES: 2}
    assert found["toril_redis_outages_total"] == {IMAGES: 1}
    assert found["toril_settlements_refused_total"] == {IMAGES: 1}


def test_names_that_others_chose_become_no_series():
    """10,000 job names, ids, hostile text: one series."""
    hostile = [f"evil-{number}" for number in range(10_000)] + ['"} 1\nforged 1', "", "\ud800"]

    found = scraped(*(replace(SETTLED, job_id=name, name=name) for name in hostile))

    unnamed = labels(queue="images", verdict="returned", settled="completed")
    assert found["toril_attempts_total"] == {unnamed: len(hostile)}
    assert len(found["toril_job_run_seconds_count"]) == 1
    assert "forged" not in found


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\nb", "ä…"])
def test_labels_come_back_as_they_were(text):
    family = Family("m", "gauge", "Help with \\ and\nlines.", ("queue",), {(text,): 1.5})

    assert read("".join(written([family]))) == {"m": {labels(queue=text): 1.5}}


def test_a_value_on_a_bound_belongs_below_it():
    histogram = Histogram("h", "Help.", (), (1.0, 2.0))
    for value in (1.0, 1.5, 2.0, 3.0):
        histogram.observe(value)

    assert read("".join(written([histogram])))["h_bucket"] == {
        labels(le="1"): 1,
        labels(le="2"): 3,
        labels(le="+Inf"): 4,
    }


@pytest.mark.parametrize(
    "settlement",
    [
        *(Complete(), Fail("x"), Retry("x", 0), Retry("x", 9)),
        *(GiveBack(), Delay(1), Hold(1), WaitForChildren()),
    ],
    ids=lambda settlement: type(settlement).__name__,
)
def test_every_settlement_has_a_label_without_durations(settlement):
    assert words(settlement).partition(" ")[0] in FOLLOWED


def test_names_that_a_processor_tells_are_few_and_short():
    many = {f"name-{number}": print for number in range(MAX_NAMES * 3)}

    assert len(Processor(many).names) == MAX_NAMES
    assert Processor({"x" * (MAX_NAME + 1): print, "a": print, 7: print}).names == ["a"]
    assert Processor({"\ud800": print}).names == ["?"]
    assert Processor(print).names == []


def test_every_state_of_a_child_is_a_slot():
    assert set(SLOT_OF) == set(State)
    assert set(SLOT_OF.values()) | {"missing"} == set(SLOTS)


def test_slots_without_a_child_are_missing_and_successors_take_none():
    children = [(1, State.RUNNING), (1, State.CONFINING), (3, State.KILLING)]

    assert slots_of(children, 4) == {
        "busy": 1,
        "idle": 0,
        "starting": 1,
        "leaving": 1,
        "missing": 2,
    }
