"""`toril jobs` on a real server: lists, filters, one job and many."""

from __future__ import annotations

import io
import sys

import pytest

from tests.support.command import Command
from toril import NewJob, Queue
from toril.cli.jobs import filters

pytestmark = pytest.mark.servers("valkey")

HOSTILE = "\x1b[2Jname\nforged 1 waiting"


@pytest.fixture
def toril(capsys, redis_url, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    return Command(capsys, redis_url)


@pytest.fixture
def queue(redis_url):
    with Queue("q", redis=redis_url) as queue:
        yield queue


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(filters, "PAGE", 3)


def fail(queue, redis_client, count, reason="Boom", **options):
    """Jobs as a worker leaves them that fail: added, cancelled, and given a reason."""
    jobs = queue.add_bulk(NewJob(f"job-{at % 2}", {"at": at}, **options) for at in range(count))
    for job in jobs:
        queue.cancel(job.id)
        redis_client.hset(f"bull:q:{job.id}", "failedReason", reason)
    return [job.id for job in jobs]


def ids(records):
    return [record["id"] for record in records]


def test_a_list_has_every_state_and_its_keys(toril, queue, redis_client):
    (failed,) = fail(queue, redis_client, 1)
    queue.add_bulk([NewJob("a"), NewJob("b", delay="1h"), NewJob("c", priority=2)])
    said = toril("jobs", "list", "--queue", "q", "--json")
    found = {one["id"]: one["state"] for one in said.records("jobs list")}
    assert found == {failed: "failed", "2": "waiting", "3": "delayed", "4": "prioritized"}
    assert said.code == 0


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--state", "failed"], {"1", "2", "3", "4"}),
        (["--state", "waiting", "--state", "delayed"], {"5", "6"}),
        (["--name", "job-0"], {"1", "3"}),
        (["--name", "job-*"], {"1", "2", "3", "4"}),
        (["--reason", "bOOM"], {"1", "2", "3", "4"}),
        (["--reason", "else"], set()),
        (["--verdict", "cancelled"], {"1", "2", "3", "4"}),
        (["--older", "1h"], set()),
        (["--younger", "1h", "--state", "failed"], {"1", "2", "3", "4"}),
    ],
)
def test_filters_choose(toril, queue, redis_client, flags, expected):
    fail(queue, redis_client, 4)
    queue.add_bulk([NewJob("a"), NewJob("b", delay="1h")])
    said = toril("jobs", "list", "--queue", "q", "--json", *flags)
    assert set(ids(said.records("jobs list"))) == expected


@pytest.mark.usefixtures("small_pages")
def test_pages_follow_each_other(toril, queue):
    queue.add_bulk(NewJob("a") for _ in range(10))
    words = ("jobs", "list", "--queue", "q", "--json", "--ascending", "--limit", "4")
    first, second = toril(*words), toril(*words, "--skip", "4")
    assert ids(first.records("jobs list")) == ["1", "2", "3", "4"]
    assert "--skip 4" in first.err
    assert ids(second.records("jobs list")) == ["5", "6", "7", "8"]
    last = toril(*words, "--skip", "8")
    assert ids(last.records("jobs list")) == ["9", "10"]
    assert last.err == ""


def test_names_of_others_stay_text_in_every_view(toril, queue, redis_client):
    (job_id,) = fail(queue, redis_client, 1, "\x1b]0;title\x07\nreason   forged")
    redis_client.hset(f"bull:q:{job_id}", "name", HOSTILE)
    queue.add_job_log(job_id, "\x1b[31mred\nforged")
    for words in (
        ("jobs", "list", "--queue", "q"),
        ("jobs", "show", job_id, "--queue", "q"),
        ("jobs", "logs", job_id, "--queue", "q"),
        ("jobs", "retry", "--queue", "q", "--all", "--dry-run"),
    ):
        said = toril(*words)
        assert said.code == 0
        assert "\x1b" not in said.out + said.err
        assert not any(line.startswith("forged") for line in said.out.splitlines())


def test_show_tells_everything(toril, queue):
    queue.add("a", {"n": 10**30}, job_id="mine")
    said = toril("jobs", "show", "mine", "--queue", "q", "--json")
    (found,) = said.records("jobs show")
    assert found["data"] == {"n": 10**30}
    assert (found["state"], found["history"], found["usage"]) == ("waiting", [], None)


def test_logs_are_told_by_line_and_from_the_end(toril, queue):
    queue.add("a", job_id="mine")
    for number in range(5):
        queue.add_job_log("mine", f"line {number}")
    whole = toril("jobs", "logs", "mine", "--queue", "q")
    assert whole.out == "".join(f"line {number}\n" for number in range(5))
    tail = toril("jobs", "logs", "mine", "--queue", "q", "--tail", "2", "--json")
    assert tail.records("jobs logs") == [
        {"number": 3, "line": "line 3"},
        {"number": 4, "line": "line 4"},
    ]


@pytest.mark.parametrize("action", ["show", "logs", "retry", "promote", "remove", "cancel"])
def test_a_job_that_is_not_there_is_69(toril, queue, action):
    queue.add("a")
    assert toril("jobs", action, "nobody", "--queue", "q").code == 69


@pytest.mark.parametrize(
    ("action", "end"),
    [
        ("retry", ("retried", "waiting")),
        ("remove", ("removed", "gone")),
        ("cancel", ("cancelled", "failed")),
    ],
)
def test_named_jobs_are_changed_one_by_one(toril, queue, redis_client, action, end):
    result, state = end
    first, second, untouched = fail(queue, redis_client, 3)
    said = toril("jobs", action, first, second, "--queue", "q", "--json")
    found = said.records(f"jobs {action}")
    assert [(one["id"], one["result"]) for one in found] == [(first, result), (second, result)]
    assert [queue.get_job_state(one) for one in (first, untouched)] == [state, "failed"]
    assert said.code == 0


def test_a_job_that_ended_by_itself_cannot_be_cancelled(toril, queue, redis_client):
    (job_id,) = fail(queue, redis_client, 1)
    redis_client.hdel(f"bull:q:{job_id}", "t:verdict", "t:cancel")
    said = toril("jobs", "cancel", job_id, "--queue", "q", "--json")
    (found,) = said.records("jobs cancel")
    assert (said.code, found["result"]) == (69, "finished")


def test_a_retry_may_count_from_0(toril, queue, redis_client):
    (job_id,) = fail(queue, redis_client, 1)
    redis_client.hset(f"bull:q:{job_id}", "atm", 3)
    toril("jobs", "retry", job_id, "--queue", "q", "--reset-attempts")
    assert queue.get_job(job_id).attempts_made == 0


def test_what_does_not_fit_is_refused_with_the_reason(toril, queue):
    queue.add("a")
    said = toril("jobs", "promote", "1", "--queue", "q", "--json")
    (found,) = said.records("jobs promote")
    assert (said.code, found["result"]) == (69, "refused")
    assert "waiting" in found["reason"]


def test_a_dry_run_tells_count_and_sample_and_changes_nothing(toril, queue, redis_client):
    fail(queue, redis_client, 7)
    said = toril("jobs", "retry", "--queue", "q", "--all", "--dry-run", "--json")
    (found,) = said.records("jobs --dry-run")
    assert (found["action"], found["count"], len(found["sample"])) == ("retry", 7, 5)
    assert queue.counts()["failed"] == 7


def test_named_jobs_can_be_looked_at_before(toril, queue):
    queue.add("a", delay="1h")
    words = ("jobs", "promote", "1", "nobody", "--queue", "q", "--dry-run", "--json")
    (found,) = toril(*words).records("jobs --dry-run")
    assert (found["count"], [one["id"] for one in found["sample"]]) == (1, ["1"])
    assert queue.counts()["delayed"] == 1


def test_what_was_done_is_told_when_it_is_broken_off(toril, queue, monkeypatch):
    queue.add_bulk(NewJob("a") for _ in range(3))
    cancel = Queue.cancel

    def until_somebody_has_enough(self, job_id):
        if job_id == "2":
            raise KeyboardInterrupt
        return cancel(self, job_id)

    monkeypatch.setattr(Queue, "cancel", until_somebody_has_enough)
    said = toril("jobs", "cancel", "--queue", "q", "--all", "--yes")
    assert said.code == 130
    assert "1 cancelled" in said.err


def test_many_are_changed_without_a_terminal_only_with_yes(toril, queue, redis_client):
    fail(queue, redis_client, 3)
    said = toril("jobs", "retry", "--queue", "q", "--all")
    assert said.code == 64
    assert "--yes" in said.err
    assert queue.counts()["failed"] == 3


@pytest.mark.usefixtures("small_pages")
def test_many_are_changed_a_page_at_a_time_and_none_is_missed(toril, queue, redis_client):
    fail(queue, redis_client, 25)
    said = toril("jobs", "retry", "--queue", "q", "--name", "job-0", "--yes", "--json")
    assert [one["result"] for one in said.records("jobs retry")] == ["retried"] * 13
    assert "13 retried" in said.err
    assert (queue.counts()["failed"], queue.counts()["waiting"]) == (12, 13)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize(
    ("words", "state"),
    [
        (["remove", "--state", "failed"], "failed"),
        (["remove", "--state", "delayed"], "delayed"),
        (["promote", "--all"], "delayed"),
        (["cancel", "--all"], "waiting"),
        (["cancel", "--all"], "prioritized"),
        (["cancel", "--all"], "delayed"),
    ],
)
def test_every_bulk_change_empties_its_state(toril, queue, redis_client, words, state):
    fail(queue, redis_client, 7)
    queue.add_bulk(NewJob("a") for _ in range(7))
    queue.add_bulk(NewJob("a", delay="1h") for _ in range(7))
    queue.add_bulk(NewJob("a", priority=3) for _ in range(7))
    said = toril("jobs", *words, "--queue", "q", "--yes")
    assert said.code == 0
    assert queue.counts()[state] == 0


@pytest.mark.usefixtures("small_pages")
def test_jobs_that_come_back_while_many_are_changed_do_not_keep_it_going(
    toril, queue, redis_client, monkeypatch
):
    fail(queue, redis_client, 5)
    get_jobs = Queue.get_jobs

    def and_one_more_fails(self, *args, **options):
        found = get_jobs(self, *args, **options)
        fail(queue, redis_client, 1)
        return found

    monkeypatch.setattr(Queue, "get_jobs", and_one_more_fails)
    said = toril("jobs", "retry", "--queue", "q", "--all", "--yes", "--json")
    assert set(ids(said.records("jobs retry"))) == {"1", "2", "3", "4", "5"}


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["retry"], "--all"),
        (["retry", "1", "--all"], "not both"),
        (["remove", "--name", "a"], "--state"),
        (["promote", "--state", "failed"], "delayed"),
        (["list", "--state", "broken"], "broken"),
        (["list", "--wat"], "--wat"),
    ],
)
def test_a_command_line_that_says_too_little_or_too_much_is_64(toril, words, word):
    said = toril("jobs", *words, "--queue", "q")
    assert said.code == 64
    assert word in said.err


@pytest.mark.parametrize(
    "flags", [["--verdict", "nope"], ["--older", "3"], ["--limit", "x"], ["--prefix", ""]]
)
def test_a_value_that_cannot_be_used_is_78(toril, flags):
    assert toril("jobs", "list", "--queue", "q", *flags).code == 78
