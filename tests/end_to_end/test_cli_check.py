"""`toril check`: everything that is wrong at once, each with its remedy; no job is taken."""

from __future__ import annotations

import pytest

from tests.support.command import Command
from toril import Queue

GOOD = "tests.end_to_end.processors:processors"


@pytest.fixture
def toril(capsys, redis_url):
    return Command(capsys, redis_url)


def check(toril, *flags, queue="q", processor=GOOD):
    said = toril(
        "check", "--json", "--queue", queue, "--processor", processor, "--waive", "uid", *flags
    )
    return said, {one["check"]: one for one in said.records("check")}


def test_a_good_start_is_0_with_warnings_and_all(toril, redis_url):
    with Queue("q", redis=redis_url) as queue:
        queue.add("a")
    said, found = check(toril, "--listeners", "tests.end_to_end.listeners:listeners")
    assert said.code == 0
    assert found["processor of q"]["status"] == "ok"
    assert found["listeners of q"]["status"] == "ok"
    assert found["persistence"]["status"] == "warning"
    assert {"version", "eviction", "role", "clock"} <= found.keys()
    assert found["writers"]["found"].startswith("q: toril:")


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--import", "zygote"], "no_such_module"),
        (["--import", "child"], "no_such_module"),
    ],
)
def test_an_import_that_fails_is_78_wherever_it_happens(toril, flags, word):
    said, found = check(toril, *flags, processor="no_such_module:x")
    assert said.code == 78
    assert found["processor of q"]["status"] == "error"
    assert word in found["processor of q"]["found"]
    assert found["version"]["status"] == "ok"


def test_a_back_off_that_cannot_be_imported_is_found(toril):
    said, found = check(toril, "--backoff", "no_such_module:strategies")
    assert said.code == 78
    assert "no_such_module" in found["processor of q"]["found"]


def test_every_mistake_of_the_configuration_is_told_and_the_server_judged(toril):
    said = toril(
        *("check", "--json", "--queue", "q", "--processor", "nonsense"),
        *("--timeout", "5", "--concurrency", "0"),
    )
    found = said.records("check")
    problems = [one["found"] for one in found if one["group"] == "configuration"]
    assert said.code == 78
    for flag in ("--processor", "--timeout", "--concurrency"):
        assert any(flag in one for one in problems), flag
    assert any(one["group"] == "server" for one in found)


def test_a_server_that_is_not_there_is_69(toril):
    said = toril.alone(
        *("check", "--queue", "q", "--processor", GOOD, "--waive", "uid"),
        *("--redis", "redis://127.0.0.1:1"),
    )
    assert said.code == 69
    assert "ERROR    answers: " in said.out
    assert "127.0.0.1:1" in said.out


def test_a_server_that_evicts_is_69_with_the_remedy(capsys, private_server):
    server = private_server(options=("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"))
    said, found = check(Command(capsys, server.url))
    assert said.code == 69
    assert found["eviction"]["status"] == "error"
    assert "noeviction" in found["eviction"]["remedy"]


def test_a_server_without_config_is_judged_by_info(capsys, private_server):
    server = private_server(options=("--rename-command", "CONFIG", ""))
    _said, found = check(Command(capsys, server.url))
    assert found["eviction"]["status"] == "ok"
    assert found["idle connections"]["status"] == "unknown"


def test_a_user_who_may_not_ask_gets_unknown(capsys, private_server, monkeypatch):
    server = private_server()
    with server.connect() as client:
        client.execute_command(
            "ACL", "SETUSER", "w", "on", ">pw", "~*", "&*", "+@all", "-config", "-info", "-time"
        )
    monkeypatch.setenv("TORIL_REDIS_URL", f"unix://w:pw@{server.socket_path}")
    said = Command(capsys, "").alone(
        *("check", "--json", "--queue", "q", "--processor", GOOD, "--waive", "uid")
    )
    found = [one for one in said.records("check") if one["group"] == "server"]
    assert said.code == 0
    assert {one["status"] for one in found} == {"unknown", "ok"}
    assert "pw" not in said.out + said.err


def test_a_file_that_is_no_toml_is_78(toril, tmp_path):
    path = tmp_path / "toril.toml"
    path.write_text("[queues\n")
    said = toril.alone("check", "--config", str(path), "--json")
    (found,) = said.records("check")
    assert said.code == 78
    assert "toril.toml" in found["found"]
