"""The step function behind `job.wait`: between look-up and stream nothing is missed."""

from __future__ import annotations

import pytest

from toril.runtime.reading import StateSeen
from toril.runtime.waiting import (
    Completed,
    Entry,
    Failed,
    Gone,
    Watch,
    after_entries,
    after_state,
)

WATCH = Watch("7", cursor="10-0")


def seen(state, last="10-0", value=b"", reason=""):
    return StateSeen(state, last, value, reason)


def entry(entry_id, event, job_id="7", **fields):
    stored = {"event": event, "jobId": job_id, **fields}
    return Entry(entry_id, {name.encode(): value.encode() for name, value in stored.items()})


def test_an_ended_job_is_known_at_the_first_look():
    assert after_state(Watch("7"), seen("completed", value=b"1")) == Completed(b"1")
    assert after_state(Watch("7"), seen("failed", reason="no")) == Failed("no")
    assert after_state(Watch("7"), seen("gone")) == Gone()


@pytest.mark.parametrize("state", ["waiting", "active", "delayed", "prioritized", "unknown"])
def test_a_pending_job_is_followed_from_the_moment_of_the_look(state):
    assert after_state(Watch("7"), seen(state, "12-3")) == Watch("7", cursor="12-3")


def test_a_later_look_does_not_skip_entries_that_were_not_read():
    assert after_state(WATCH, seen("active", "99-0")) == WATCH


def test_a_stream_that_went_back_is_followed_from_where_it_is():
    assert after_state(WATCH, seen("active", "9-5")).cursor == "9-5"
    assert after_state(WATCH, seen("active", "0-0")).cursor == "0-0"


def test_a_job_found_gone_later_may_have_ended_in_what_was_not_read_yet():
    gone = after_state(WATCH, seen("gone", "12-0"))
    assert gone == Watch("7", cursor="10-0", gone_at="12-0")
    unread = [entry("11-0", "completed", returnvalue='"x"'), entry("12-0", "drained", "")]
    assert after_entries(gone, unread) == Completed(b'"x"')


def test_a_job_found_gone_with_nothing_unread_is_gone():
    assert after_state(WATCH, seen("gone", "10-0")) == Gone()


def test_a_gone_job_is_gone_once_the_stream_is_read_up_to_that_moment():
    gone = Watch("7", cursor="10-0", gone_at="12-0")
    assert after_entries(gone, [entry("11-0", "waiting", "8")]) == Watch("7", "11-0", "12-0")
    assert after_entries(gone, [entry("12-0", "waiting", "8")]) == Gone()
    assert after_entries(gone, []) == Gone()


def test_entries_of_others_and_other_events_only_move_the_cursor():
    entries = [
        entry("11-0", "completed", "8", returnvalue="1"),
        entry("11-1", "active"),
        entry("12-0", "progress", data="50"),
    ]
    assert after_entries(WATCH, entries) == Watch("7", cursor="12-0")
    assert after_entries(WATCH, []) == WATCH


def test_the_end_is_read_from_the_stream():
    assert after_entries(WATCH, [entry("11-0", "completed", returnvalue="[1]")]) == Completed(
        b"[1]"
    )
    assert after_entries(WATCH, [entry("11-0", "failed", failedReason="no")]) == Failed("no")
    assert after_entries(WATCH, [entry("11-0", "removed", prev="waiting")]) == Gone()


def test_entry_ids_are_compared_as_numbers():
    assert after_state(Watch("7", "9-0"), seen("gone", "10-0")) == Watch("7", "9-0", "10-0")
