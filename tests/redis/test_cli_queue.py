"""`toril queue` on a real server: lists, pauses, drains, limits."""

from __future__ import annotations

import io
import sys

import pytest

from tests.support.command import Command
from toril import NewJob, Queue
from toril.cli.queue.known import unknown

pytestmark = pytest.mark.servers("valkey")


@pytest.fixture
def toril(capsys, redis_url, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    return Command(capsys, redis_url)


@pytest.fixture
def queue(redis_url):
    with Queue("images", redis=redis_url) as queue:
        yield queue


def test_a_list_has_counts_age_workers_and_pauses(toril, queue, redis_url):
    queue.add_bulk([NewJob("a"), NewJob("b", delay="1h")])
    with Queue("mail", redis=redis_url) as other:
        other.pause()
    said = toril("queue", "list", "--json")
    images, mail = said.records("queue list")
    assert (images["queue"], images["is_paused"], images["workers"]) == ("images", False, 0)
    assert (images["counts"]["waiting"], images["counts"]["delayed"]) == (1, 1)
    assert 0 <= images["oldest_waiting_ms"] < 60_000
    assert (mail["queue"], mail["is_paused"], mail["oldest_waiting_ms"]) == ("mail", True, None)
    table = toril("queue", "list").out.splitlines()
    assert [line.split()[0] for line in table] == ["QUEUE", "images", "mail"]


def test_a_queue_that_cannot_be_read_does_not_hide_the_others(toril, queue, redis_client):
    queue.add("a")
    redis_client.set("bull:broken:meta", "no hash")
    said = toril("queue", "list", "--json")
    assert [one["queue"] for one in said.records("queue list")] == ["images"]
    assert said.code == 69
    assert "'broken'" in said.err


def test_a_prefix_without_queues_is_told(toril):
    said = toril("queue", "list", "--prefix", "nothing")
    assert (said.code, said.out) == (0, "")
    assert "nothing" in said.err


def test_a_queue_is_paused_and_resumed(toril, queue):
    queue.add("a")
    said = toril("queue", "pause", "images", "--json")
    assert said.records("queue pause") == [{"queue": "images", "is_paused": True}]
    assert queue.is_paused()
    assert "not paused" in toril("queue", "resume", "images").out
    assert not queue.is_paused()


def test_a_drain_is_asked_for_and_can_be_looked_at(toril, queue):
    queue.add_bulk([NewJob("a"), NewJob("b", priority=3), NewJob("c", delay="1h")])
    assert toril("queue", "drain", "images").code == 64
    (plan,) = toril("queue", "drain", "images", "--dry-run", "--json").records(
        "queue drain --dry-run"
    )
    assert (plan["action"], plan["count"], len(plan["sample"])) == ("drain", 2, 2)
    assert sum(queue.counts().values()) == 3
    said = toril("queue", "drain", "images", "--yes", "--json")
    assert said.records("queue drain") == [{"queue": "images", "removed": 2, "left": 0}]
    assert queue.counts()["delayed"] == 1
    toril("queue", "drain", "images", "--delayed", "--yes")
    assert sum(queue.counts().values()) == 0


def test_limits_are_set_shown_and_taken_away(toril, queue):
    queue.add("a")
    none = {
        "queue": "images",
        "rate_limit": None,
        "global_rate_limit": None,
        "global_concurrency": None,
    }
    words = ("queue", "limits", "images", "--json")
    assert toril(*words).records("queue limits") == [none]
    flags = ["--rate-limit", "200/60s", "--burst", "5", "--global-rate-limit", "10/s"]
    said = toril(*words, *flags, "--global-concurrency", "3")
    assert said.records("queue limits") == [
        {
            "queue": "images",
            "rate_limit": {"tokens": 200, "per_ms": 60_000, "burst": 5},
            "global_rate_limit": {"max": 10, "duration_ms": 1000},
            "global_concurrency": 3,
        }
    ]
    assert "200 in 1 m 0 s, bursts of 5" in toril("queue", "limits", "images").out
    without = ["--no-rate-limit", "--no-global-rate-limit", "--no-global-concurrency"]
    assert toril(*words, *without).records("queue limits") == [none]


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["--burst", "3"], 64),
        (["--rate-limit", "1/s", "--no-rate-limit"], 64),
        (["--rate-limit", "fast"], 78),
        (["--global-concurrency", "0"], 78),
        (["--rate-limit", "5/s", "--global-rate-limit", "x"], 78),
    ],
)
def test_limits_that_cannot_be_meant_change_nothing(toril, queue, flags, code):
    queue.add("a")
    assert toril("queue", "limits", "images", *flags).code == code
    assert queue.get_rate_limit() is None


def test_a_name_that_is_no_queue_is_78(toril):
    assert toril("queue", "pause", "a:b").code == 78


@pytest.mark.parametrize(
    "words", [["pause"], ["resume"], ["drain", "--yes"], ["limits"], ["limits", "--burst", "3"]]
)
def test_a_queue_that_is_not_there_is_told_with_those_that_are(toril, queue, redis_client, words):
    queue.add("a")
    action, *flags = words
    before = sorted(redis_client.keys())
    said = toril("queue", action, "imgaes", *flags, "--json")
    assert (said.code, said.out) == (69, "")
    assert f"toril queue {action}: there is no queue 'imgaes' with the prefix 'bull'" in said.err
    assert "did you mean 'images'?" in said.err
    assert ("--create" in said.err) == (action in {"pause", "limits"})
    assert sorted(redis_client.keys()) == before


def test_a_queue_can_be_paused_and_limited_before_it_is_there(toril, queue):
    assert "is paused" in toril("queue", "pause", "images", "--create").out
    assert queue.is_paused()
    assert "not paused" in toril("queue", "resume", "images").out
    assert toril("queue", "resume", "images").code == 0
    assert toril("queue", "limits", "mail", "--rate-limit", "5/s", "--create").code == 0
    assert "5 in 1.0 s" in toril("queue", "limits", "mail").out


def test_of_many_queues_some_are_named():
    names = [f"queue-{number}" for number in range(30)]
    words = unknown("nothing", "bull", names)
    assert words.endswith("'queue-19' and 10 more)")
    assert unknown("nothing", "bull", []) == "there is no queue 'nothing' with the prefix 'bull'"
