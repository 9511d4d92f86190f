"""Durations, sizes and rates: strings with units in, numbers out."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toril.errors import InvalidOption
from toril.units import duration_ms, format_bytes, format_ms, rate, size_bytes


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("250ms", 250),
        ("30s", 30_000),
        ("1.5s", 1_500),
        ("1m30s", 90_000),
        ("1h 5m", 3_900_000),
        ("2d", 172_800_000),
        (timedelta(seconds=2), 2_000),
        ("0s", 0),
    ],
)
def test_duration(text, ms):
    assert duration_ms(text) == ms


@pytest.mark.parametrize("text", ["30", "", "s", "-1s", "1 week", "1s garbage", 30, None, "20000d"])
def test_duration_without_a_unit_or_out_of_range_is_refused_by_name(text):
    with pytest.raises(InvalidOption, match=r"--timeout is .*expected"):
        duration_ms(text, "--timeout")


@given(st.integers(0, 10**9))
def test_whole_milliseconds_are_exact(ms):
    assert duration_ms(f"{ms}ms") == ms


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MiB", 2**29), ("64kB", 64_000), ("1.5GiB", 3 * 2**29), ("812B", 812)],
)
def test_size(text, size):
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["512", "512M", "lots", "-1MiB", 512])
def test_size_without_a_unit_is_refused(text):
    with pytest.raises(InvalidOption, match="512MiB"):
        size_bytes(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("200/60s", (200, 60_000)), ("10/s", (10, 1_000)), ("1/1h", (1, 3_600_000))],
)
def test_rate(text, expected):
    assert rate(text) == expected


@pytest.mark.parametrize("text", ["200", "0/s", "5/0s", "fast", "/s", "5/"])
def test_rate_that_is_none_is_refused(text):
    with pytest.raises(InvalidOption, match="rate is"):
        rate(text)


def test_figures_for_people():
    shown = [format_ms(ms) for ms in (0, 340, 12_500, 200_000, 7_500_000)]
    assert shown == ["0 ms", "340 ms", "12.5 s", "3 m 20 s", "2 h 5 m"]
    assert [format_bytes(n) for n in (812, 1536, 2**29, 3 * 2**30)] == [
        "812 B",
        "1.5 KiB",
        "512 MiB",
        "3 GiB",
    ]
