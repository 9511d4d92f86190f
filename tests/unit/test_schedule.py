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

from toril.runtime import zone
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
    zone._local_zone.cache_clear()
    try:
        found = next_match("0 9 * * *", None, NOON_MS)
    finally:
        zone._local_zone.cache_clear()
    assert found == round(datetime(2026, 3, 29, 0, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("zone", "hour"),
    [("utc", 5), ("gmt", 5), ("europe/berlin", 4), ("EST5edt", 10), ("UTC+2", 3), ("utc-03", 8),
     ("UTC+05:30", -0.5), ("utc-03:30", 8.5), ("Etc/GMT+2", 7)],
)  # fmt: skip
def test_zones_have_the_names_that_luxon_takes(zone: str, hour: float) -> None:
    year = round(datetime(2027, 1, 1, tzinfo=UTC).timestamp() * 1000)
    assert next_match("0 5 1 1 *", zone, NOON_MS) == year + hour * 3_600_000
    assert next_match("* * * * *", zone, NOON_MS) == NOON_MS + 60_000


@pytest.mark.parametrize("name", ["local", "System", "default", None])
def test_zone_of_this_machine_has_names_too(monkeypatch, name: str | None) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    zone._local_zone.cache_clear()
    try:
        assert zone.zone_of(name) == ZoneInfo("Asia/Tokyo")
    finally:
        zone._local_zone.cache_clear()


@pytest.mark.parametrize("name", ["Z", "+02:00", "utc+2:3", "UTC+99", "Europe", "a" * 5000, "../x"])
def test_zone_that_is_none_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="is not known here"):
        zone.zone_of(name)


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
        Due("x", b"[" * 100_000), Due("x", b"\xff"), due({"pattern": "1," * 1000 + "1 * * * *"}),
        due({"pattern": "@daily"}, prevMillis="inf"), due({"pattern": "@daily"}, prevMillis="nan"),
        due({"pattern": "@daily", "startDate": "-inf"}),
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
