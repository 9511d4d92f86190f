"""How jobs are cut into calls and batches, and named so that a repeat is known."""

from __future__ import annotations

import pytest

from toril.errors import ParentGone
from toril.runtime import limiter, reading
from toril.runtime.adding import (
    BYTES_PER_BATCH,
    BYTES_PER_CALL,
    Added,
    RequestKey,
    RequestKeys,
    add_calls,
    batches,
)
from toril.runtime.command import REAL_TIME
from toril.runtime.newjob import NewJob
from toril.runtime.preparing import prepare
from toril.runtime.ties import Parent


def prepared(count, size_bytes=2):
    return [prepare(NewJob("n", "x" * (size_bytes - 2)))] * count


def test_no_jobs_make_no_batch():
    assert list(batches([])) == []


def test_batches_hold_1000_jobs():
    assert list(batches(prepared(2001))) == [range(1000), range(1000, 2000), range(2000, 2001)]


def test_batches_and_calls_end_early_when_they_hold_enough_bytes():
    big = prepared(3, BYTES_PER_BATCH)
    assert list(batches(big)) == [range(1), range(1, 2), range(2, 3)]
    calls = add_calls("b:q:", prepared(3, BYTES_PER_CALL), range(3), RequestKey("n"))
    assert [call.indexes for call in calls] == [range(1), range(1, 2), range(2, 3)]


def test_calls_hold_100_jobs_and_are_numbered():
    calls = add_calls("b:q:", prepared(260), range(5, 260), RequestKey("n", 4), version="v:1")
    assert [call.indexes for call in calls] == [range(5, 105), range(105, 205), range(205, 260)]
    heads = [call.command.args[:5] for call in calls]
    assert heads == [("", "n", 4, "v:1", 1), ("", "n.1", 4, "v:1", 1), ("", "n.2", 4, "v:1", 1)]


def test_options_that_jobs_share_are_sent_once():
    often, rare = prepare(NewJob("a", attempts=3)), prepare(NewJob("b", job_id="x"))
    (call,) = add_calls("b:q:", [often, rare, often], range(3), RequestKey("n"))
    count, *rest = call.command.args[4:]
    assert count == 2
    assert rest == [
        *(*often.options.as_args(), *rare.options.as_args()),
        *("", "a", b"{}", 1),
        *("x", "b", b"{}", 2),
        *("", "a", b"{}", 1),
    ]


def test_the_answer_tells_added_from_duplicate():
    jobs = [prepare(NewJob("a")), prepare(NewJob("b", job_id="x"))]
    (call,) = add_calls("b:q:", jobs, range(2), RequestKey("n"))
    assert call.command.parse(b"17 1 2") == [Added("1", False, 17), Added("x", True, 17)]


def test_one_job_with_a_tie_takes_its_call_to_the_other_script():
    jobs = [prepare(NewJob("a")), prepare(NewJob("b", parent=Parent("1", "b:p")))]
    (call,) = add_calls("b:q:", jobs, range(2), RequestKey("n"))
    assert call.command.script == "add_tied"
    added, gone = call.command.parse([b"17", b"1", b"added", b"b:p:1", b"parent-gone"])
    assert added == Added("1", False, 17)
    assert isinstance(gone, ParentGone)


def test_a_request_key_is_reused_with_the_next_number_once_answered():
    keys = RequestKeys()
    first = keys.take()
    other = keys.take()
    assert first.nonce != other.nonce
    keys.give_back(first)
    again = keys.take()
    assert (again.nonce, again.batch) == (first.nonce, 2)


@pytest.mark.parametrize(
    "command",
    [
        add_calls("b:q:", prepared(1), range(1), RequestKey("n"))[0].command,
        reading.state_of("b:q:", "1"),
        reading.get_job("b:q:", "1"),
        reading.counts("b:q:"),
        limiter.set_limit("b:q:", limiter.RateLimit(1, 1, 1)),
        limiter.offer_limit("b:q:", None),
        limiter.remove_limit("b:q:"),
    ],
    ids=lambda command: command.script,
)
def test_producers_never_send_a_time_of_their_own(command):
    assert command.args[0] == REAL_TIME
    assert command.keys == ("b:q:",)
