"""The command line: what it refuses, with which code, in which words."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys

import pytest

from tests.support.tied import tied
from tests.support.waiting import until
from toril import NewJob, Queue

IMPORTED = """
import sys
sys.argv[1:] = ["--version"]
try:
    import toril.__main__
except SystemExit:
    pass
"""


def toril(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "toril", *words],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_version_imports_nothing_heavy():
    script = IMPORTED + "print(sorted({'redis', 'uvloop', 'asyncio', 'rich'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--redis", "redis://:secret@localhost"], "TORIL_REDIS_URL"),
        (["--lock-duration", "30"], "with a unit"),
        (["--concurrency", "0"], "at least 1"),
        (["--rate-limit", "fast"], "tokens/duration"),
        (["--processor", "nonsense"], "module:attribute"),
        (["--memory", "lots"], "512MiB"),
        (["--env", "REDIS_PASSWORD"], "REDIS_"),
    ],
)
def test_bad_flag_is_named_with_what_is_expected(flags, words):
    base = ["run", "--queue", "q", "--processor", "json:dumps", "--redis", "redis://127.0.0.1:1"]
    done = toril(*base, *flags)
    assert done.returncode == os.EX_CONFIG
    assert words in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_no_server_named_says_what_to_do():
    done = toril("run", "--queue", "q", "--processor", "a:b")
    assert done.returncode == os.EX_CONFIG
    assert "TORIL_REDIS_URL" in done.stderr
    assert "embedded" in done.stderr


@pytest.mark.parametrize(
    "words", [("run", "--queue", "q", "--processor", "json:dumps"), ("add", "q", "n")]
)
def test_unreachable_server_is_one_clear_line(words):
    done = toril(*words, "--redis", "redis://127.0.0.1:1")
    assert done.returncode == os.EX_UNAVAILABLE
    (line,) = done.stderr.splitlines()
    assert line.count("127.0.0.1") == 1
    assert "--redis embedded" in line


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (("run", "--queue", "q", "--processor", "a:b", "--wat", "3"), "usage: toril run"),
        (("add", "q", "n", "--wat"), "usage: toril add"),
        (("embedded", "dance"), "usage: toril embedded"),
        (("wat",), "usage: toril "),
    ],
)
def test_a_command_line_that_cannot_be_read_shows_the_usage_of_its_verb(words, usage):
    done = toril(*words)
    assert done.returncode == os.EX_USAGE
    assert done.stderr.startswith(usage)


def test_a_variable_that_is_not_set_is_told_at_the_start():
    done = toril(
        *("run", "--queue", "q", "--processor", "json:dumps", "--redis", "redis://127.0.0.1:1"),
        *("--env", "NOT_SET", "--env", "PATH"),
    )
    assert "NOT_SET" in done.stderr
    assert "PATH" not in done.stderr


def test_a_log_reader_that_stops_reading_costs_neither_jobs_nor_the_stop(redis_url):
    words = ("run", "--queue", "q", "--processor", "tests.end_to_end.processors:processors")
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with Queue("q", redis=redis_url) as queue:
        queue.add_bulk(NewJob("echo", {}) for _ in range(300))
        process = subprocess.Popen(
            tied([sys.executable, "-m", "toril", *words, "--redis", redis_url]), stderr=writer
        )
        os.close(writer)
        try:
            until(lambda: queue.counts()["completed"] == 300, timeout_s=20)
            process.terminate()
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()
            process.wait()
            os.close(reader)


def test_processor_that_cannot_be_imported_ends_with_its_traceback(redis_url):
    done = toril("run", "--queue", "q", "--processor", "no_such_module:x", "--redis", redis_url)
    assert done.returncode == os.EX_CONFIG
    assert "no_such_module" in done.stderr


def test_add_prints_the_id(redis_url):
    done = toril("add", "mail", "send", "--data", '{"to": "x"}', "--redis", redis_url)
    assert (done.returncode, done.stdout) == (0, "1\n")
    done = toril("add", "mail", "send", "--json", "--priority", "3", "--redis", redis_url)
    assert json.loads(done.stdout) == {"id": "2"}
    with Queue("mail", redis=redis_url) as queue:
        assert queue.get_job("1").data == {"to": "x"}
        assert queue.counts()["prioritized"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["image:optimize", "x"], "image-optimize"),
        (["mail", "x", "--data", "{"], "not JSON"),
        (["mail", "x", "--data", "[" * 100_000], "not JSON"),
        (["mail", "x", "--job-id", "12"], "12"),
        (["mail", "x", "--priority", "high"], "--priority is 'high'"),
        (["mail", "x", "--delay", "3"], "--delay is '3'"),
        (["mail", "x", "--prefix", ""], "--prefix is ''"),
    ],
)
def test_add_refuses_bad_input(redis_url, redis_client, words, message):
    done = toril("add", *words, "--redis", redis_url)
    assert done.returncode == os.EX_CONFIG
    assert message in done.stderr
    assert redis_client.dbsize() == 0
