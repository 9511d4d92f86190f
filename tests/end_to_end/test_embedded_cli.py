"""`toril embedded`: the server that goes on by itself can be found and stopped."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.end_to_end.test_cli import toril


@pytest.fixture
def state():
    """A user's state directory, short enough for a socket; its server ends with the test."""
    with tempfile.TemporaryDirectory(prefix="toril-e-", dir="/tmp") as path:
        yield Path(path)
        toril("embedded", "stop", env={"XDG_STATE_HOME": path})


def test_the_embedded_server_is_found_and_stopped_and_its_data_stays(state):
    env = {"XDG_STATE_HOME": str(state)}
    home = str(state / "toril" / "embedded")

    done = toril("embedded", "status", env=env)
    assert (done.returncode, done.stdout) == (69, f"not running; its data is in {home}\n")
    assert not (state / "toril").exists()

    assert toril("add", "mail", "send", "--redis", "embedded", env=env).stdout == "1\n"
    done = toril("embedded", "status", env=env)
    assert done.returncode == os.EX_OK
    assert done.stdout == f"runs at unix://{home}/s; its data is in {home}\n"

    for words in ("stopped", "not running"):
        done = toril("embedded", "stop", env=env)
        assert (done.returncode, done.stdout) == (0, f"{words}; its data is in {home}\n")
    assert toril("embedded", "status", env=env).returncode == os.EX_UNAVAILABLE

    assert toril("add", "mail", "send", "--redis", "embedded", env=env).stdout == "2\n"
