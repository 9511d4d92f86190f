"""report.lua and put_back_marker.lua."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis
from msgspec.structs import replace

from tests.support.keyspace import unchanged_keyspace
from toril.runtime.claim import Marker, Report
from toril.runtime.claiming import put_back_marker
from toril.runtime.options import JobOpts
from toril.runtime.retry import Complete, Fail, GiveBack, Retry
from toril.runtime.settling import Said, Settled, store_report

if TYPE_CHECKING:
    from tests.support.lane import Lane

NOTHING = Said()


def report(lane: Lane, said: Report, before: Said = NOTHING) -> Settled:
    settled: Settled = lane.run(store_report(lane.base, said, before))
    return settled


def test_progress_log_and_data_are_stored(lane: Lane) -> None:
    claim = lane.claim_new()
    said = Report(claim, progress=b'{"done":4}', log_lines=("one", "zwei ü"), data=b'{"n":2}')
    assert report(lane, said) is Settled.DONE
    job = lane.job("1")
    assert (job["progress"], job["data"]) == ('{"done":4}', '{"n":2}')
    assert lane.client.lrange(lane.key("1:logs"), 0, -1) == [b"one", "zwei ü".encode()]
    assert lane.events() == [{"event": "progress", "jobId": "1", "data": '{"done":4}'}]


def test_silence_about_something_leaves_it(lane: Lane) -> None:
    claim = lane.claim_new(data='{"a":1}')
    report(lane, Report(claim, log_lines=("x",)))
    assert lane.job("1")["data"] == '{"a":1}'
    assert "progress" not in lane.job("1")
    assert lane.events() == []


@pytest.mark.parametrize(("keep", "kept"), [(2, [b"b", b"c"]), (None, [b"a", b"b", b"c"])])
def test_keep_logs_holds_the_last_lines(lane: Lane, keep: int | None, kept: list[bytes]) -> None:
    claim = replace(lane.claim_new(), opts=JobOpts(keep_logs=keep))
    report(lane, Report(claim, log_lines=("a", "b", "c")))
    assert lane.client.lrange(lane.key("1:logs"), 0, -1) == kept


def logs(lane: Lane) -> list[str]:
    return [line.decode() for line in lane.client.lrange(lane.key("1:logs"), 0, -1)]


def test_same_report_again_stores_nothing_twice(lane: Lane) -> None:
    said = Report(lane.claim_new(), b"1", ("a", "b"), b"{}", "File x.py")
    report(lane, said)
    with unchanged_keyspace(lane.client):
        assert report(lane, said) is Settled.DONE


def test_report_whose_reply_was_lost_comes_again_with_more(lane: Lane) -> None:
    claim = lane.claim_new()
    report(lane, Report(claim, b"1", ("a", "b")))
    more = Report(claim, b"2", ("a", "b", "c"))
    report(lane, more)
    assert logs(lane) == ["a", "b", "c"]
    assert [event["data"] for event in lane.events()] == ["1", "2"]
    report(lane, Report(claim, b"2", ("d",)), Said().with_report(more))
    assert logs(lane) == ["a", "b", "c", "d"]
    assert [event["data"] for event in lane.events()] == ["1", "2", "2"]


def test_report_that_never_arrived_is_stored_when_it_comes_again(lane: Lane) -> None:
    claim = lane.claim_new()
    first = Report(claim, log_lines=("a",))
    report(lane, first)
    report(lane, Report(claim, b"1", ("b", "c")), NOTHING.with_report(first))
    assert logs(lane) == ["a", "b", "c"]


def test_repeat_is_told_apart_whatever_is_kept_of_the_log(lane: Lane) -> None:
    claim = replace(lane.claim_new(), opts=JobOpts(keep_logs=2))
    report(lane, Report(claim, log_lines=("a", "b", "c")))
    report(lane, Report(claim, log_lines=("a", "b", "c", "d")))
    assert logs(lane) == ["c", "d"]


def test_next_attempt_counts_anew(lane: Lane) -> None:
    claim = lane.claim_new()
    report(lane, Report(claim, log_lines=("a",)))
    lane.settle(claim, Retry("boom", 0))
    assert "t:said" not in lane.job("1")
    (claim,) = lane.claim().claims
    report(lane, Report(claim, log_lines=("a",)))
    assert logs(lane) == ["a", "a"]


@pytest.mark.parametrize("said", ["nonsense", "1 2", "t x y", ""])
def test_unusable_memory_of_what_was_said_stores_all(lane: Lane, said: str) -> None:
    claim = lane.claim_new(**{"t:said": said})
    report(lane, Report(claim, log_lines=("a",)))
    assert logs(lane) == ["a"]


def test_stack_is_kept_and_bounded(lane: Lane) -> None:
    claim = lane.claim_new()
    report(lane, Report(claim, stack="File ü\ud800"))
    assert lane.job("1")["t:stack"] == "File ü?"
    report(lane, Report(claim, stack="x" * 100_000), NOTHING.with_report(Report(claim)))
    assert len(lane.job("1")["t:stack"]) == 65_536


def test_keep_no_logs_keeps_none(lane: Lane) -> None:
    claim = replace(lane.claim_new(), opts=JobOpts(keep_logs=0))
    report(lane, Report(claim, log_lines=("a",)))
    assert not lane.client.exists(lane.key("1:logs"))


@pytest.mark.parametrize("lock", [None, "somebody else"])
def test_report_without_the_lock_is_refused(lane: Lane, lock: str | None) -> None:
    claim = lane.claim_new()
    lane.client.delete(lane.key("1:lock"))
    if lock:
        lane.client.set(lane.key("1:lock"), lock)
    with unchanged_keyspace(lane.client):
        assert report(lane, Report(claim, b"1", ("x",), b"{}")) is Settled.LOST


def test_report_of_a_removed_job_is_refused(lane: Lane) -> None:
    claim = lane.claim_new()
    lane.client.delete(lane.key("1"))
    with unchanged_keyspace(lane.client):
        assert report(lane, Report(claim, b"1")) is Settled.GONE


@pytest.mark.parametrize("name", ["events", "meta", "1:logs"])
def test_taken_key_refuses_before_anything_is_written(lane: Lane, name: str) -> None:
    claim = lane.claim_new()
    lane.client.set(lane.key(name), "taken")
    with unchanged_keyspace(lane.client), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        report(lane, Report(claim, b"1", ("x",)))


def test_full_server_refuses_reports_whole(lane: Lane) -> None:
    claim = lane.claim_new()
    lane.client.config_set("maxmemory", 1)
    try:
        with unchanged_keyspace(lane.client), pytest.raises(redis.OutOfMemoryError):
            report(lane, Report(claim, b"1", ("x",)))
    finally:
        lane.client.config_set("maxmemory", 0)


def test_base_marker_is_put_back_unless_nobody_may_fetch(lane: Lane) -> None:
    lane.run(put_back_marker(lane.base, Marker("0", 0)))
    assert lane.scores("marker") == {"0": 0}
    lane.client.delete(lane.key("marker"))
    lane.client.hset(lane.key("meta"), "paused", 1)
    with unchanged_keyspace(lane.client):
        lane.run(put_back_marker(lane.base, Marker("0", 0)))


def test_delay_marker_is_put_back_with_the_first_time(lane: Lane) -> None:
    lane.delay("1", lane.now_ms + 70)
    lane.run(put_back_marker(lane.base, Marker("1", 5)))
    assert lane.scores("marker") == {"1": lane.now_ms + 70}


def test_checkpoint_is_found_by_the_next_attempt(lane: Lane) -> None:
    claim = lane.claim_new()
    assert claim.checkpoint is None
    report(lane, Report(claim, checkpoint=b'{"step":4}'))
    lane.settle(claim, GiveBack())
    (claim,) = lane.claim().claims
    assert claim.checkpoint == b'{"step":4}'
    report(lane, Report(claim, progress=b"1"))
    lane.settle(claim, Retry("boom", 0))
    (claim,) = lane.claim().claims
    assert claim.checkpoint == b'{"step":4}', "silence about it leaves it"


@pytest.mark.parametrize("settlement", [Complete(), Fail("boom")], ids=["completed", "failed"])
def test_checkpoint_is_gone_with_the_jobs_end(lane: Lane, settlement: Complete | Fail) -> None:
    claim = lane.claim_new()
    report(lane, Report(claim, checkpoint=b"1"))
    lane.settle(claim, settlement)
    assert "t:checkpoint" not in lane.job("1")


def test_checkpoint_of_a_lost_lock_is_refused(lane: Lane) -> None:
    claim = lane.claim_new()
    lane.client.set(lane.key("1:lock"), "somebody")
    assert report(lane, Report(claim, checkpoint=b"1")) is Settled.LOST
    assert "t:checkpoint" not in lane.job("1")


@pytest.mark.parametrize("odd", [b"{", b"", b"\xff", b'"' + b"x" * 70_000 + b'"', b"[" * 60_000])
def test_foreign_checkpoint_is_none(lane: Lane, odd: bytes) -> None:
    assert lane.claim_new(**{"t:checkpoint": odd}).checkpoint is None
