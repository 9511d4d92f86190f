"""What ends and what goes wrong, in the listeners' words."""

from __future__ import annotations

import json

import pytest

from toril import events as ev
from toril.call import Outcome, Usage, Verdict
from toril.listeners import EVENTS, MAX_VALUE_BYTES
from toril.runtime.claim import Claim
from toril.runtime.retry import Complete, Delay, Fail, GiveBack, Hold, Retry, WaitForChildren
from toril.runtime.settling import Ending
from toril.supervisor import news
from toril.supervisor.backlog import BATCH, BATCH_BYTES, Backlog, Waiting

CLAIM = Claim("7", "t:1", "crop", attempts_started=2)
RAISED = Outcome(Verdict.RAISED, error_name="ValueError", message="boom", usage=Usage(wall_ms=4))
TIMED_OUT = Outcome(Verdict.TIMED_OUT, message="timed out")


def values(told) -> list[tuple[str, object]]:
    """(event's name, the value that its listener gets)."""
    found = [json.loads(news.text(one)) for one in told]
    return [(one["event"], EVENTS[one.pop("event")](**one)) for one in found]


def told(settlement, outcome):
    return values(news.endings("images", Ending(CLAIM, settlement, outcome)))


def test_a_failure_says_whether_it_runs_again():
    ((name, event),) = told(Retry("boom", 500), RAISED)
    assert name == "failed"
    assert (event.queue, event.job_id, event.name, event.attempt) == ("images", "7", "crop", 2)
    assert (event.reason, event.verdict, event.error_name) == ("boom", "raised", "ValueError")
    assert (event.is_retried, event.delay_ms, event.run_ms) == (True, 500, 4)
    ((_, event),) = told(Fail("boom"), RAISED)
    assert (event.is_retried, event.delay_ms) == (False, 0)


def test_a_timeout_is_told_before_its_failure():
    assert [name for name, _ in told(Retry("timed out", 0), TIMED_OUT)] == ["timeout", "failed"]


@pytest.mark.parametrize("size", [MAX_VALUE_BYTES, MAX_VALUE_BYTES + 1])
def test_a_large_result_is_left_out(size):
    value = b'"' + b"x" * (size - 2) + b'"'
    ((_, event),) = told(Complete(), Outcome(Verdict.RETURNED, value=value))
    assert event.is_left_out == (size > MAX_VALUE_BYTES)
    assert (event.returnvalue is None) == event.is_left_out


@pytest.mark.parametrize("settlement", [GiveBack(), Delay(5), Hold(5), WaitForChildren()])
def test_what_goes_back_without_a_failure_is_no_news(settlement):
    assert told(settlement, Outcome(Verdict.INTERRUPTED)) == []


def test_names_that_are_no_text_are_told_all_the_same():
    broken = Claim("\udcff", "t:1", "\udcff")
    ((_, event),) = values([news.active("q", broken)])
    assert (event.job_id, event.name) == ("?", "?")


@pytest.mark.parametrize("kind", news._TROUBLES, ids=lambda kind: kind.__name__)
def test_trouble_is_an_error_with_a_reason(kind):
    samples = {"str": "text", "tuple[str, ...]": ("1",)}
    fields = {name: samples[str(kind)] for name, kind in kind.__annotations__.items()}
    ((name, event),) = values(news.overheard(kind(**fields)))
    assert name == "error"
    assert event.reason
    assert event.what


def test_other_log_lines_are_no_news():
    assert list(news.overheard(ev.RedisBack("q", 1, 1))) == []


def test_batches_are_bounded_in_number_and_bytes():
    waiting = Backlog()
    for number in range(BATCH + 2):
        waiting.put(Waiting("active", str(number), "{}"))
    first = waiting.take()
    assert len(first) == BATCH
    waiting.put_back(first[1:])
    assert [event.job_id for event in waiting.take()][:2] == ["1", "2"]
    large = Backlog()
    for number in range(3):
        large.put(Waiting("completed", str(number), "x" * BATCH_BYTES))
    assert [len(large.take()), len(large)] == [1, 2]


def test_given_up_events_are_counted():
    waiting = Backlog()
    waiting.put(Waiting("active", "1", "{}"))
    waiting.give_up()
    assert (waiting.dropped, len(waiting), waiting.is_full) == (1, 0, False)
