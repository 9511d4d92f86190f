"""How many children there should be: up quickly, down slowly, never beyond either end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toril.errors import InvalidOption
from toril.supervisor.scaling import CALM_S, Load, wanted
from toril.supervisor.settings import QueueSettings


@pytest.mark.parametrize(
    ("load", "size"),
    [
        (Load(size=2, peak=2, backlog=9, calm_s=0), 4),
        (Load(size=2, peak=2, backlog=1, calm_s=0), 3),
        (Load(size=6, peak=6, backlog=100, calm_s=0), 8),
        (Load(size=4, peak=4, backlog=0, calm_s=0), 4),
        (Load(size=4, peak=3, backlog=9, calm_s=0), 4),
        (Load(size=4, peak=3, backlog=0, calm_s=CALM_S), 3),
        (Load(size=4, peak=0, backlog=0, calm_s=CALM_S - 0.1), 4),
        (Load(size=2, peak=0, backlog=0, calm_s=CALM_S), 2),
    ],
)
def test_children_follow_the_backlog(load, size):
    assert wanted(load, 2, 8) == size


@given(
    st.builds(
        Load,
        size=st.integers(1, 40),
        peak=st.integers(0, 40),
        backlog=st.integers(0, 10_000),
        calm_s=st.floats(0, 100),
    ),
    st.integers(1, 10),
    st.integers(0, 30),
)
def test_size_stays_between_its_ends(load, least, more):
    assert least <= wanted(load, least, least + more) <= least + more


@pytest.mark.parametrize(("least", "most"), [(0, 4), (5, 4)])
def test_ends_that_cannot_be_are_refused(least, most):
    with pytest.raises(InvalidOption):
        QueueSettings("q", "m:f", concurrency=most, min_concurrency=least)


def test_one_number_is_both_ends():
    assert QueueSettings("q", "m:f", concurrency=4).least_concurrency == 4
