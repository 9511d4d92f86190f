"""When a schedule runs next: changes of clocks, the dialect, and what cannot be read.

`tests/interop/test_schedules.py` compares a larger table with BullMQ's own parser.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toril.runtime import schedule
from toril.runtime.schedule import Due, next_match, next_slot

BERLIN = ZoneInfo("Europe/Berlin")
NOON_MS = 1_774_699_200_000
"""2026-03-28 12:00 UTC, the day before the clocks of Berlin are put forward."""


def ms(text: str, *, fold: int = 0) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp() * 1000)


@pytest.mark.parametrize(
    ("pattern", "after", "expected"),
    [
        ("30 2 * * *", ms("2026-03-28T20:00"), ms("2026-03-29T03:30")),
        ("30 2 * * *", ms("2026-03-29T03:30"), ms("2026-03-30T02:30")),
        ("30 2 * * *", ms("2026-10-24T20:00"), ms("2026-10-25T02:30")),
        ("30 2 * * *", ms("2026-10-25T02:30"), ms("2026-10-26T02:30")),
        ("0 * * * *", ms("2026-10-25T02:00"), ms("2026-10-25T02:00", fold=1)),
        ("0 * * * *", ms("2026-10-25T02:00", fold=1), ms("2026-10-25T03:00")),
        ("0 * * * *", ms("2026-03-29T01:00"), ms("2026-03-29T03:00")),
        ("0 0 13 * 5", ms("2026-03-01T00:00"), ms("2026-03-06T00:00")),
        ("0 0 L * ?", ms("2026-02-01T00:00"), ms("2026-02-28T00:00")),
        ("@weekly", ms("2026-03-02T00:00"), ms("2026-03-08T00:00")),
        ("*/20 * * * * *", ms("2026-03-02T00:00"), ms("2026-03-02T00:00") + 20_000),
        ("0 0 29 2 *", ms("2026-03-02T00:00"), ms("2028-02-29T00:00")),
    ],
)
def test_next_time_of_a_pattern(pattern: str, after: int, expected: int) -> None:
    assert next_match(pattern, "Europe/Berlin", after) == expected


def test_zone_of_this_machine_is_taken_where_none_is_named(monkeypatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    schedule._local_zone.cache_clear()
    try:
        found = next_match("0 9 * * *", None, NOON_MS)
    finally:
        schedule._local_zone.cache_clear()
    assert found == round(datetime(2026, 3, 29, 0, tzinfo=UTC).timestamp() * 1000)


def due(repeat: object, **opts: object) -> Due:
    return Due("repeat:s:1", json.dumps({"repeat": repeat, **opts}).encode())


@pytest.mark.parametrize(
    ("wish", "opts", "expected"),
    [
        ({}, {}, NOON_MS + 60_000),
        ({}, {"prevMillis": NOON_MS + 600_000}, NOON_MS + 660_000),
        ({"startDate": NOON_MS + 600_000}, {"prevMillis": 5}, NOON_MS + 660_000),
        ({"endDate": NOON_MS + 60_000}, {}, NOON_MS + 60_000),
        ({"endDate": NOON_MS + 59_999}, {}, None),
    ],
)
def test_slot_comes_after_what_was_and_before_the_end(wish, opts, expected) -> None:
    found = next_slot(due({"pattern": "* * * * *", "tz": "UTC"} | wish, **opts), NOON_MS)
    assert found == expected


@pytest.mark.parametrize(
    "broken",
    [
        due(None), due({}), due({"pattern": "* * *"}), due({"pattern": "61 * * * *"}),
        due({"pattern": "@daily", "tz": "Mars/Base"}), due({"pattern": "@daily", "tz": "../x"}),
        due({"pattern": "@daily", "tz": "UTC"}, prevMillis=1e300), Due("x", b""), Due("x", b"[]"),
        Due("x", b"[" * 100_000), Due("x", b"\xff"),
    ],
    ids=lambda one: one.opts[:40],
)  # fmt: skip
def test_what_means_nothing_is_an_error_that_says_so(broken: Due) -> None:
    with pytest.raises(ValueError, match=r"cron pattern|schedule|zone"):
        next_slot(broken, NOON_MS)


FIELDS = st.sampled_from([
    "*", "*/7", "0", "59", "1-5", "31", "29", "L", "LW", "5L", "1#5", "0#5,L", "MON", "FEB", "2",
    "L/2", "1-5/2", "1,2", "23", "0-59/13", "99", "#", "/", "5/",
])  # fmt: skip


@given(st.lists(FIELDS, min_size=5, max_size=6))
def test_any_pattern_is_a_later_time_or_a_value_error(fields: list[str]) -> None:
    try:
        found = next_match(" ".join(fields), "Europe/Berlin", NOON_MS)
    except ValueError:
        return
    assert found is None or NOON_MS < found < NOON_MS + timedelta(days=60 * 366) / timedelta(
        milliseconds=1
    )
