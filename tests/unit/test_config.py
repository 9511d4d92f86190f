"""One value out of file, environment and flags, or everything that is wrong, where it stands."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toril.cli.run import settings_of
from toril.cli.verbs import parser
from toril.errors import InvalidOption, InvalidSettings
from toril.log_settings import LogSettings
from toril.runtime.limiter import RateLimit
from toril.runtime.options import KEEP_ALL, KeepRule
from toril.sandbox.levels import Level
from toril.supervisor.config.load import Sources, load, load_server
from toril.supervisor.config.shown import json_schema, shown
from toril.units import duration_ms, format_exactly, size_bytes

WHOLE = """\
redis = "redis://127.0.0.1:6379/0"
prefix = "p"
drain_timeout = "60s"

[queues.image-optimize]
processor = "myapp.images:processors"
concurrency = 4
lock_duration = "20s"
rate_limit = { tokens = 200, per = "60s", burst = 10, revision = 3 }
timeout = "5m"
remove_on_complete = "1000,24h"
remove_on_fail = { age = "7d" }

[queues.image-optimize.sandbox]
level = "process"
memory = "512MiB"
max_jobs_per_child = 9
preload = ["numpy"]
env = ["A", "B"]
allow = { read = ["/data"], network = ["tcp"], exec = true, queues = ["other"] }

[queues.other]
processor = "myapp.other:run"
concurrency = "cores"
rate_limit = "10/s"
"""

WRONG = """\
prefx = "x"
timeout = "3s"

[queues.images]
processor = [1]
concurrency = "many"
concurency = 4
lock_duration = "10ms"
timeout = 30
rate_limit = "200"

[queues.images.sandbox]
level = "hard"
memory = "1MiB"
allow = { read = ["a"], netwrk = true }

[queues.other]
concurrency = 0
rate_limit = { tokens = 5, per = "1s", burst = 0 }
"""

# ruff: noqa: E501 - lines as they are printed

SAID = """\
1: prefx: there is no such setting; did you mean prefix?
2: timeout: there is no such setting here; it belongs to queues.NAME.timeout
5: queues.images.processor is [1]; expected text
6: queues.images.concurrency is 'many'; expected a whole number, "cores", or { min = 1, max = 8 }
7: queues.images.concurency: there is no such setting; did you mean concurrency?
8: queues.images.lock_duration is '10ms'; expected at least 500 ms
9: queues.images.timeout is 30; expected a number with a unit out of ms, s, m, h, d, such as "30s" or "1m30s"
10: queues.images.rate_limit is '200'; expected tokens/duration, such as "200/60s"
13: queues.images.sandbox.level is 'hard'; expected 'process', 'restricted' or 'strict'
14: queues.images.sandbox.memory is '1MiB'; expected at least 16 MiB
15: queues.images.sandbox.allow.netwrk: there is no such setting; did you mean network?
15: queues.images.sandbox.allow.read names 'a'; expected an absolute path
17: queues.other.processor is missing; expected "module:attribute": a function, or a mapping
18: queues.other.concurrency is 0; expected at least 1
19: queues.other.rate_limit.burst is 0; expected a whole number of at least 1
no server is named; expected --redis URL, TORIL_REDIS_URL or redis in a configuration, such as redis://localhost:6379/0, or `--redis embedded` for a private one to try things out
"""


@pytest.fixture
def file(tmp_path):
    """A configuration that is wanted to be whole; tests write over it."""
    path = tmp_path / "toril.toml"
    path.write_text(WHOLE)
    return path


def test_a_file_becomes_settings(file):
    settings = load(Sources(path=file, environ={})).settings
    images, other = settings.queues
    assert (settings.prefix, settings.drain_timeout_ms) == ("p", 60_000)
    assert (images.name, images.concurrency, images.lock_ms) == ("image-optimize", 4, 20_000)
    assert images.rate_limit == RateLimit(200, 60_000, 10, revision=3)
    assert images.keep_completed == KeepRule(1000, age_s=86_400)
    assert images.keep_failed == KeepRule(KEEP_ALL, age_s=7 * 86_400)
    assert images.level is Level.PROCESS
    limits, allow = images.limits, images.allow
    assert (limits.timeout_s, limits.memory_bytes, limits.max_jobs) == (300, 2**29, 9)
    assert (allow.read, allow.network, allow.exec) == (("/data",), ("tcp",), True)
    assert (allow.queues, allow.env) == (("other",), ("A", "B"))
    assert other.rate_limit == RateLimit(10, 1000, 10)
    assert other.concurrency >= 1


def test_everything_that_is_wrong_is_told_at_once_with_its_line(file):
    file.write_text(WRONG)
    with pytest.raises(InvalidSettings) as caught:
        load(Sources(path=file, environ={}))
    told = [line.removeprefix(f"{file}:") for line in caught.value.problems]
    assert sorted(told) == sorted(SAID.splitlines())


def test_flags_win_over_the_environment_and_that_over_the_file(file, monkeypatch):
    monkeypatch.setenv("TORIL_QUEUES__IMAGE_OPTIMIZE__CONCURRENCY", "5")
    monkeypatch.setenv("TORIL_QUEUES__IMAGE_OPTIMIZE__SANDBOX__ENV", "C, D")
    monkeypatch.setenv("TORIL_QUEUES__SOMEBODY_ELSES__CONCURRENCY", "x")
    monkeypatch.setenv("TORIL_DRAIN_TIMEOUT", "7s")
    words = ["run", "--config", str(file), "--queue", "image-optimize", "--drain-timeout", "8s"]
    settings = settings_of(parser().parse_args(words))
    (queue,) = settings.queues
    assert (queue.concurrency, queue.allow.env) == (5, ("C", "D"))
    assert settings.drain_timeout_ms == 8_000


def test_a_flag_of_queues_is_meant_for_all_that_are_worked(file):
    words = ["run", "--config", str(file), "--memory", "1GiB"]
    found = settings_of(parser().parse_args(words))
    assert [queue.limits.memory_bytes for queue in found.queues] == [2**30] * 2


@pytest.mark.parametrize(
    ("words", "variable", "said"),
    [
        (["--lock-duration", "1s", "--memory", "x"], (), "--memory is 'x'; expected a number"),
        ([], ("TORIL_DRAIN_TIMEOUT", "x"), "TORIL_DRAIN_TIMEOUT is 'x'"),
        ([], ("TORIL_QUEUES__OTHER__LOCK_DURATION", "1ms"), "TORIL_QUEUES__OTHER__LOCK_DURATION"),
        (["--queue", "nowhere"], (), "queues.nowhere.processor is missing"),
        (["--redis", "redis://u:secret@h"], (), "--redis carries a user or a password"),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_its_source(file, monkeypatch, words, variable, said):
    if variable:
        monkeypatch.setenv(*variable)
    with pytest.raises(InvalidSettings) as caught:
        settings_of(parser().parse_args(["run", "--config", str(file), *words]))
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_file_in_this_directory_is_found_and_a_whole_command_line_needs_none(
    file, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    assert settings_of(parser().parse_args(["run"])).prefix == "p"
    file.write_text("this is no TOML")
    words = ["run", "--queue", "q", "--processor", "a:b", "--redis", "redis://h"]
    assert settings_of(parser().parse_args(words)).prefix == "bull"


class TestPassword:
    def test_comes_from_a_file(self, file, tmp_path):
        secret = tmp_path / "secret"
        secret.write_text("p@ss/word\n")
        file.write_text(f'redis_password_file = "{secret}"\n{WHOLE}')
        found = load(Sources(path=file, environ={}))
        assert found.settings.redis == "redis://:p%40ss%2Fword@127.0.0.1:6379/0"
        assert "p@ss" not in str(shown(found))
        assert "p%40ss" not in str(shown(found))
        assert [queue.hidden for queue in found.settings.queues] == [(str(file), str(secret))] * 2

    def test_comes_from_the_service_manager(self, file, tmp_path):
        (tmp_path / "redis-password").write_text("word")
        environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
        found = load(Sources(path=file, environ=environ)).settings
        assert found.redis.startswith("redis://:word@")
        assert found.queues[0].hidden == (str(file), str(tmp_path / "redis-password"))

    def test_is_refused_in_the_file_itself_and_never_repeated(self, file):
        file.write_text(WHOLE.replace("redis://", "redis://:hush@"))
        with pytest.raises(InvalidSettings, match="redis carries") as caught:
            load(Sources(path=file, environ={}))
        assert "hush" not in str(caught.value)

    @pytest.mark.parametrize(
        ("written", "said"),
        [
            (
                '"rediss//:hush@h"\n[queues.q]\nprocessor = "a:b"',
                "redis is \\*\\*\\*; expected redis://",
            ),
            ('{ url = "redis://h", password = "hush" }', "redis is a table; expected text"),
            ('["redis://:hush@h"]', "redis is a list; expected text"),
            ('"r"\n[queues.q]\nprocessor = ["redis://:hush@h"]', "processor is .*://\\*\\*\\*@h"),
        ],
    )
    def test_is_not_repeated_where_the_server_is_no_url(self, file, written, said):
        file.write_text(f"redis = {written}\n")
        with pytest.raises(InvalidSettings, match=said) as caught:
            load(Sources(path=file, environ={}))
        assert "hush" not in str(caught.value)

    def test_a_file_that_is_missing_is_named(self, file):
        file.write_text(f'redis_password_file = "/nowhere"\n{WHOLE}')
        with pytest.raises(InvalidSettings, match="redis_password_file is '/nowhere'"):
            load(Sources(path=file, environ={}))

    def test_of_the_environment_is_used_as_it_is(self, file):
        environ = {"TORIL_REDIS_URL": "redis://u:p@h"}
        assert load(Sources(path=file, environ=environ)).settings.redis == "redis://u:p@h"


def test_a_client_needs_the_server_only(file):
    file.write_text(WHOLE.replace("concurrency = 4", "concurrency = 0"))
    server = load_server(Sources(path=file, environ={}))
    assert (server.url, server.prefix) == ("redis://127.0.0.1:6379/0", "p")
    with pytest.raises(InvalidOption, match="no server"):
        load_server(Sources(environ={}))


def test_what_is_shown_can_be_read_back(file):
    """`config show` prints TOML, and it means the settings that it was made from."""
    first = load(Sources(path=file, environ={}))
    lines = [
        f"{_quoted(one.name)} = {json.dumps(one.value)}"
        for one in shown(first)
        if one.value is not None
    ]
    file.write_text("\n".join(lines))
    assert load(Sources(path=file, environ={})).settings == first.settings


def _quoted(name: str) -> str:
    return ".".join(json.dumps(part) for part in name.split("."))


def test_every_setting_is_shown_with_its_origin(file):
    found = {one.name: one for one in shown(load(Sources(path=file, environ={})))}
    assert found["queues.image-optimize.lock_duration"].origin == f"{file}:8"
    assert found["queues.image-optimize.rate_limit.per"].value == "1m"
    assert found["queues.image-optimize.sandbox.grace"].value == "2s"
    assert found["queues.image-optimize.sandbox.grace"].origin == "default"


def test_the_schema_has_every_setting_with_its_default():
    schema = json_schema()
    queue = schema["$defs"]["QueueTable"]["properties"]
    assert queue["lock_duration"]["default"] == "30s"
    assert schema["$defs"]["SandboxTable"]["properties"]["memory"]["default"] == "512MiB"
    assert set(tomllib.loads(WHOLE)["queues"]["image-optimize"]) <= set(queue)


@given(st.integers(0, 10**12))
def test_numbers_with_units_are_read_back_exactly(number):
    assert duration_ms(format_exactly("x_ms", number % (10 * 365 * 86_400_000))) == number % (
        10 * 365 * 86_400_000
    )
    assert size_bytes(format_exactly("x_bytes", number)) == number


@pytest.mark.parametrize(
    ("written", "ends"),
    [
        ("4", (4, 4)),
        ('"2-8"', (2, 8)),
        ("{ min = 2, max = 8 }", (2, 8)),
        ('{ min = "3", max = "3" }', (3, 3)),
    ],
)
def test_children_are_a_number_or_two(file, written, ends):
    file.write_text(WHOLE.replace("concurrency = 4", f"concurrency = {written}"))
    queue = load(Sources(path=file, environ={})).settings.queues[0]
    assert (queue.least_concurrency, queue.concurrency) == ends


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("{ min = 4 }", "expected a whole number"),
        ('"1-many"', "expected a whole number"),
        ("{ min = 5, max = 4 }", "expected at least 5"),
        ("{ min = 0, max = 4 }", "expected at least 1"),
    ],
)
def test_ends_that_cannot_be_are_refused_with_their_line(file, written, reason):
    file.write_text(WHOLE.replace("concurrency = 4", f"concurrency = {written}"))
    with pytest.raises(InvalidSettings, match=rf"7.*concurrency.*{reason}"):
        load(Sources(path=file, environ={}))


class TestLog:
    def test_is_told_by_file_environment_and_flags(self, tmp_path):
        path = tmp_path / "toril.toml"
        path.write_text(WHOLE + '[log]\nlevel = "error"\nredact = ["pin"]\n')
        words = ["run", "--config", str(path), "--log-level", "debug"]
        log = settings_of(parser().parse_args(words)).log
        assert log == LogSettings("debug", redact=("pin",))

        environ = {"TORIL_LOG__FORMAT": "json", "TORIL_LOG__REDACT": "pin, puk"}
        told = load(Sources(path=path, environ=environ)).settings.log
        assert told == LogSettings("error", "json", ("pin", "puk"))

    def test_refuses_what_is_wrong_with_everything_else(self, tmp_path):
        path = tmp_path / "toril.toml"
        path.write_text(WHOLE + 'x = 1\n[log]\nlevel = "loud"\nredact = ["ok", "(a+)+$"]\n')
        with pytest.raises(InvalidSettings) as refused:
            load(Sources(path=path, environ={}))
        assert len(refused.value.problems) == 3
        assert "log.level is 'loud'; expected 'debug', 'info'" in refused.value.problems[1]
        assert "log.redact names '(a+)+$'; expected words" in refused.value.problems[2]

    def test_the_schema_has_its_own_defaults(self):
        tables = json_schema()["$defs"]
        assert tables["LogTable"]["properties"]["level"]["default"] == "info"
        assert tables["SandboxTable"]["properties"]["level"]["default"] == "restricted"
