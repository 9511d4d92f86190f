"""Events become words in one place, every event has some, and no reader can hold anything up."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import threading
import time
import typing

import pytest
from msgspec.structs import replace

from toril import events as ev
from toril import lifecycle, line_writer
from toril.log import FREE_TEXT, Log
from toril.log_settings import LogSettings
from toril.rendering import event_name, field_names

EVENTS = typing.get_args(ev.Event)
SAMPLES = {
    "str": "text",
    "int": 7,
    "int | None": None,
    "tuple[str, ...]": ("1", "2"),
    "tuple[int, ...]": (7,),
    "tuple[ChildState, ...]": (lifecycle.ChildState(1, None, "idle", "", None, 0),),
}
SETTLED = ev.JobSettled(
    queue="images",
    job_id="7",
    name="optimize",
    attempt=1,
    verdict="raised",
    settled="failed",
    wait_ms=3,
    run_ms=4,
    cpu_ms=None,
    reason="boom",
)


def sample(kind: type) -> ev.Event:
    return kind(**{name: SAMPLES[kind.__annotations__[name]] for name in field_names(kind)})


def logged(*events: ev.Event, as_json: bool = False) -> str:
    stream = io.StringIO()
    with Log(stream, LogSettings(level="debug", format="json" if as_json else "text")) as log:
        for event in events:
            log(event)
    return stream.getvalue()


@pytest.fixture
def pipe():
    """(stream to write to, descriptor to read from) of a pipe that nobody reads."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        yield stream, reader
    os.close(reader)


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("as_json", [False, True])
def test_every_event_is_one_line(kind, as_json):
    (line,) = logged(sample(kind), as_json=as_json).splitlines()
    if as_json:
        record = json.loads(line)
        assert record["event"] == event_name(sample(kind))
        assert record["level"] in {"DEBUG", "INFO", "WARNING", "ERROR"}
        assert {"time", "level", "event", "message"}.isdisjoint(field_names(kind))
    else:
        assert not field_names(kind) or any(word in line for word in ("text", "7", "1, 2"))


def test_a_stream_that_is_gone_does_not_stop_the_work():
    closed = io.StringIO()
    closed.close()
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as unread:
        for gone in (closed, unread):
            with Log(gone) as log:
                for _ in range(10):
                    log(sample(ev.LockLost))


@pytest.mark.parametrize(
    "odd", ["\n", "\r", "\x1b[2J", "\x7f", "\x9b2J", "\x85", "\u2028", "\u202e", "\0"]
)
def test_nothing_in_an_event_can_forge_a_line_or_command_a_terminal(odd):
    forged = f"x{odd}12:00:00 INFO    images job 7 optimize attempt 1 returned -> completed"
    kinds = [kind for kind in EVENTS if kind is not ev.LogLinesDropped]
    for kind in kinds:
        names = [name for name in field_names(kind) if kind.__annotations__[name] == "str"]
        text = logged(replace(sample(kind), **dict.fromkeys(names, forged)))
        assert len(text.splitlines()) == 1
        assert odd not in text.removesuffix("\n")


def test_json_lines_carry_such_text_unchanged():
    text = logged(replace(SETTLED, reason="a\nb\x1b"), as_json=True)
    assert json.loads(text)["reason"] == "a\nb\x1b"


def test_a_failed_job_is_a_warning_with_the_exceptions_type():
    text = logged(replace(SETTLED, error_name="OSError", reason="disk full"))
    assert " WARNING " in text
    assert text.endswith(": OSError: disk full\n")
    assert "OSError: OSError" not in logged(
        replace(SETTLED, error_name="OSError", reason="OSError: no")
    )
    assert " INFO " in logged(replace(SETTLED, settled="retried at once"))


def test_a_correlation_id_that_somebody_gave_stands_in_the_line():
    assert "images job 7 [order-7] optimize" in logged(replace(SETTLED, correlation_id="order-7"))
    assert "images job 7 optimize" in logged(replace(SETTLED, correlation_id="images:7"))


RECORD = ev.JobOutput("images", "7", "logging", "boom", "images:7", "myapp.io", "WARNING")


def test_a_record_has_its_level_and_logger():
    assert logged(RECORD).endswith(" WARNING images job 7 logging myapp.io: boom\n")
    assert " DEBUG   images" in logged(replace(RECORD, severity="DEBUG"))


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("debug", ["job-active", "job-settled", "job-settled", "job-output"]),
        ("info", ["job-settled", "job-settled", "job-output"]),
        ("warning", ["job-settled", "job-output"]),
        ("error", []),
    ],
)
def test_only_what_matters_enough_is_said(level, told):
    stream = io.StringIO()
    events = ev.JobActive("images", "7", "n", 1), replace(SETTLED, settled="done"), SETTLED, RECORD
    with Log(stream, LogSettings(level=level, format="json")) as log:
        for event in events:
            log(event)
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == told


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_what_jobs_and_errors_say_has_no_secrets(kind, as_json):
    free = [name for name in field_names(kind) if name in FREE_TEXT]
    event = replace(sample(kind), **dict.fromkeys(free, "password=hunter2 amqp://a:hunter2@b"))
    assert "hunter2" not in logged(event, as_json=as_json)


def test_last_words_have_no_secrets():
    stream = io.StringIO()
    with Log(stream) as log:
        log.say("cannot reach redis://:hunter2@host\nat all")
    assert stream.getvalue() == "cannot reach redis://***@host\nat all\n"


def test_a_wait_that_nobody_knows_is_no_number():
    assert "waited ?" in logged(replace(SETTLED, wait_ms=None))


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (ev.Draining("q", 1, 30_000), "1 running job has 30.0 s to end; a second signal stops at"),
        (ev.Draining("q", 2, 30_000), "2 running jobs have"),
        (ev.DrainDeadline("q", 1), "1 running job goes back"),
        (ev.WorkerStarted("q", "a:b", "process", 1, "redis://h"), "1 child runs a:b"),
        (ev.WorkerStopped("q", 1), "after 1 attempt\n"),
        (ev.GhostsRemoved("q", 1), "removed 1 id "),
        (ev.RedisBack("q", 10, 1), "1 job held"),
        (ev.StalledRecovered("q", ("7",)), "a stalled job is back in the queue: 7"),
        (ev.VariablesUnset("q", ("A", "B")), "A, B"),
    ],
)
def test_numbers_and_nouns_agree(event, words):
    assert words in logged(event)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("job_id", "stream", "words"),
    [
        ("7", "stdout", "images job 7 stdout: hi"),
        ("", "listeners stdout", "images listeners stdout: hi"),
    ],
)
def test_output_of_no_job_names_none(job_id, stream, words):
    assert words in logged(ev.JobOutput("images", job_id, stream, "hi"))


async def test_a_reader_that_does_not_read_never_holds_the_loop_up(pipe):
    stream, reader = pipe
    count = 3 * line_writer.MAX_WAITING_BYTES // 1000
    late_s = 0.0
    with Log(stream) as log:
        for _ in range(count):
            began = time.monotonic()
            log(ev.JobOutput("q", "7", "stdout", "x" * 1000))
            await asyncio.sleep(0)
            late_s = max(late_s, time.monotonic() - began)
        for number in range(100):
            log(replace(SETTLED, job_id=f"settled-{number}"))
        assert late_s < 0.5

        text = bytearray()
        thread = threading.Thread(target=lambda: text.extend(read_to_end(reader)))
        thread.start()
    stream.close()
    thread.join()
    lines = text.decode().splitlines()
    (told,) = [line for line in lines if "log reader is slow" in line]
    dropped = int(re.search(r"slow: (\d+) lines dropped", told)[1])
    assert dropped > 0
    assert sum("stdout" in line for line in lines) + dropped == count
    assert sum("settled-" in line for line in lines) == 100


@pytest.mark.timeout(20)
def test_closing_waits_for_a_reader_but_not_for_ever(pipe):
    stream, _ = pipe
    log = Log(stream)
    for _ in range(200):
        log(ev.JobOutput("q", "7", "stdout", "x" * 1000))
    began = time.monotonic()
    log.close()
    assert time.monotonic() - began < 3 * line_writer.CLOSE_S
    log(SETTLED)


def test_a_stream_that_somebody_made_non_blocking_loses_nothing(pipe):
    stream, reader = pipe
    os.set_blocking(stream.fileno(), False)
    text = bytearray()
    thread = threading.Thread(target=lambda: text.extend(read_to_end(reader)))
    with Log(stream) as log:
        for _ in range(1000):
            log(ev.JobOutput("q", "7", "stdout", "x" * 1000))
        thread.start()
    stream.close()
    thread.join()
    assert len(text.splitlines()) == 1000


def read_to_end(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 65536):
        parts.append(part)
    return b"".join(parts)


def test_a_reload_that_needs_a_restart_for_some_of_it_is_a_warning_that_names_it():
    said = logged(lifecycle.Reloaded(("drain_timeout",), ("health.listen", "log.level")))
    assert " WARNING " in said
    assert said.endswith("changed: drain_timeout; needs a restart: health.listen, log.level\n")
    assert "WARNING" not in logged(lifecycle.Reloaded(("drain_timeout",), ()))
