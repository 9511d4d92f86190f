"""The command line: what it refuses, with which code, in which words."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from toril import Queue

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


@pytest.mark.parametrize("level", ["restricted", "strict"])
def test_levels_that_are_not_built_refuse_to_start(level):
    done = toril(
        *("run", "--queue", "q", "--processor", "a:b", "--redis", "redis://x", "--level", level)
    )
    assert done.returncode == os.EX_CONFIG
    assert "not built yet" in done.stderr
    assert "process" in done.stderr


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


def test_unreachable_server_is_one_clear_line():
    done = toril(
        "run", "--queue", "q", "--processor", "json:dumps", "--redis", "redis://127.0.0.1:1"
    )
    assert done.returncode == os.EX_UNAVAILABLE
    assert "127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr


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
        (["mail", "x", "--job-id", "12"], "12"),
    ],
)
def test_add_refuses_bad_input(redis_url, redis_client, words, message):
    done = toril("add", *words, "--redis", redis_url)
    assert done.returncode == os.EX_USAGE
    assert message in done.stderr
    assert redis_client.dbsize() == 0
