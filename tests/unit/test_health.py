"""Healthy means consuming."""

from __future__ import annotations

import dataclasses

import pytest

from toril.supervisor.health import Vitals, examine

WELL = Vitals(
    now_s=100.0,
    turned_s=99.9,
    answered_s=98.0,
    claimed_s=97.0,
    could_claim_s=90.0,
    unavailable_s=None,
    poll_s=5.0,
    quiet_s=6.0,
)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({}, None),
        ({"could_claim_s": None, "claimed_s": 0.0}, None),
        ({"claimed_s": 0.0, "could_claim_s": 99.0}, None),
        ({"unavailable_s": 99.0, "could_claim_s": None}, "no child"),
        ({"turned_s": 90.0}, "event loop"),
        ({"answered_s": 80.0}, "Redis"),
        ({"claimed_s": 50.0, "could_claim_s": 60.0}, "nothing was claimed"),
    ],
)
def test_healthy_means_consuming(change, complaint):
    health = examine(dataclasses.replace(WELL, **change))
    assert health.is_healthy is (complaint is None)
    assert complaint is None or complaint in health.complaints[0].text


def test_every_complaint_is_told():
    sick = dataclasses.replace(WELL, turned_s=0, answered_s=0, claimed_s=0, could_claim_s=0)
    assert len(examine(sick).complaints) == 3


@pytest.mark.parametrize(
    ("change", "is_live"),
    [
        ({"turned_s": 90.0}, False),
        ({"claimed_s": 50.0, "could_claim_s": 60.0}, False),
        ({"claimed_s": 50.0, "could_claim_s": 60.0, "answered_s": 50.0}, True),
        ({"answered_s": 50.0}, True),
        ({"unavailable_s": 50.0}, True),
    ],
)
def test_a_redis_that_is_away_is_no_reason_to_restart(change, is_live):
    """Jobs run on through an outage; a restart would end them and mend nothing."""
    assert examine(dataclasses.replace(WELL, **change)).is_live is is_live
