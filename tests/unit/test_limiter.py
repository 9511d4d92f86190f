"""A rate limit that could not be counted exactly, or means nothing, is refused."""

from __future__ import annotations

import pytest

from toril.errors import InvalidOption
from toril.runtime.limiter import RateLimit, parse_limit


def test_burst_is_as_many_as_tokens_unless_given():
    assert RateLimit.of(200, "60s") == RateLimit(tokens=200, per_ms=60_000, burst=200)
    assert RateLimit.of(200, "60s", burst=1).burst == 1


@pytest.mark.parametrize(
    "values",
    [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1, -1), (1.5, 1, 1), (True, 1, 1), ("1", 1, 1)],
)
def test_numbers_out_of_range_are_refused(values):
    with pytest.raises(InvalidOption, match="rate limit"):
        RateLimit(*values)


def test_what_doubles_cannot_count_is_refused_and_the_bound_named():
    most = (2**53 - 1) // 60_000_000
    assert RateLimit(1, 60_000, most).burst == most
    with pytest.raises(InvalidOption, match=f"at most {most}"):
        RateLimit(1, 60_000, most + 1)


def test_a_limit_comes_back_from_a_script_as_it_went():
    limit = RateLimit(200, 60_000, 50, revision=7)
    assert parse_limit([str(part).encode() for part in limit.as_args()]) == limit
    assert parse_limit([]) is None
