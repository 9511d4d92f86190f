"""The log of `toril run` as an operator reads it: whose every line is, and what it keeps quiet."""

from __future__ import annotations

import json

import pytest

from tests.support.toril import TorilRun
from toril import Queue

PROCESSORS = "tests.end_to_end.logs:processors"
TRACE = "0af7651916cd43dd8448eb211c80319c"
CARRIER = json.dumps({"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})


@pytest.fixture
def queue(redis_url: str):
    with Queue("logs", redis=redis_url) as queue:
        yield queue


def run(url: str, *flags: str) -> TorilRun:
    return TorilRun("logs", PROCESSORS, url, "--concurrency", "1", "--until-empty", *flags)


def test_every_line_about_a_job_has_the_id_that_its_producer_gave(redis_url, queue):
    job = queue.add("begin", correlation_id="order-7")

    with run(redis_url, "--log-level", "debug") as toril:
        assert toril.exit_code() == 0

    own = [event for event in toril.events if event.get("job_id") == job.id]
    assert {event["correlation_id"] for event in own} == {"order-7"}
    assert {event["event"] for event in own} == {"job-active", "job-output", "job-settled"}
    output = {event["stream"]: event for event in own if event["event"] == "job-output"}
    assert output.keys() == {"log", "stdout", "logging"}
    assert (output["logging"]["level"], output["logging"]["logger"]) == ("WARNING", "myapp")
    added = toril.found("job-added", by_job_id=job.id)
    assert [event["correlation_id"] for event in added] == ["order-7", "its own"]


def test_jobs_inherit_the_id_and_processors_see_it(redis_url, queue):
    given = queue.add("begin", correlation_id="order-7")
    traced = queue.add("begin", telemetry=CARRIER)
    bare = queue.add("begin")

    with run(redis_url) as toril:
        assert toril.exit_code() == 0

    for job, expected in ((given, "order-7"), (traced, TRACE), (bare, f"logs:{bare.id}")):
        first, second, own = queue.get_job(job.id).returnvalue
        assert own == expected
        assert queue.get_job(first).returnvalue == expected
        assert queue.get_job(second).returnvalue == "its own"


def test_by_default_a_settled_job_is_one_line(redis_url, queue):
    queue.add("end")

    with run(redis_url) as toril:
        assert toril.exit_code() == 0

    (line,) = [event for event in toril.events if "job_id" in event]
    assert (line["event"], line["level"]) == ("job-settled", "INFO")


def test_secrets_are_masked_in_output_and_reasons(redis_url, queue):
    queue.add("begin")
    queue.add("fail")

    with run(redis_url, "--redact", "token", "--redact", "password") as toril:
        assert toril.exit_code() == 0

    log = "\n".join(toril.lines)
    assert "hunter2" not in log
    assert "token=***" in log
    assert "postgres://***@db/app" in log


def test_records_stand_in_the_jobs_log_too(redis_url, queue):
    job = queue.add("begin")

    with run(redis_url) as toril:
        assert toril.exit_code() == 0

    lines = list(queue.get_job_logs(job.id).logs)
    assert "WARNING myapp: logged, token=hunter2" in lines
    assert "noted" in lines
