"""The directory of a child: found again, and empty again, whatever the file system's clock can."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toril.sandbox import work_directory
from toril.sandbox.work_directory import WorkDirectory, date_back


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A work directory as a child finds it: its own, new, where the process is."""
    place = tmp_path / "1"
    place.mkdir()
    date_back(str(place))
    monkeypatch.chdir(place)
    monkeypatch.setattr(work_directory, "_umask", lambda mask: mask)
    return place


def leave_something(place: Path) -> None:
    (place / "file").write_text("left")
    (place / "folder" / "deeper").mkdir(parents=True)


def test_what_was_left_is_gone_each_time(place):
    directory = WorkDirectory(str(place), is_own=True)
    for _ in range(3):
        leave_something(place)
        directory.restore()
        assert not list(place.iterdir())


def test_one_that_nobody_has_changed_is_not_read(place, monkeypatch):
    """Which is why a call that leaves nothing costs one look."""
    directory = WorkDirectory(str(place), is_own=True)
    monkeypatch.setattr(work_directory, "empty", lambda _: pytest.fail("it is read"))

    directory.restore()


def test_change_within_a_tick_of_the_last_one_is_seen(place):
    """A coarse clock gives both the same time; only an old one is taken for the last."""
    os.utime(place)
    directory = WorkDirectory(str(place), is_own=True)
    then = place.stat().st_mtime_ns
    leave_something(place)
    os.utime(place, ns=(then, then))
    directory.restore()

    assert not list(place.iterdir())


def test_one_that_was_not_empty_at_first_is_emptied(place):
    leave_something(place)
    date_back(str(place))
    WorkDirectory(str(place), is_own=True).restore()

    assert not list(place.iterdir())


def test_one_that_has_been_quiet_for_long_is_trusted_again(place, monkeypatch):
    directory = WorkDirectory(str(place), is_own=True)
    leave_something(place)
    directory.restore()
    date_back(str(place))
    directory.restore()
    monkeypatch.setattr(work_directory, "empty", lambda _: pytest.fail("it is read"))

    directory.restore()


def test_a_shared_one_is_found_again_and_left_alone(place, tmp_path):
    directory = WorkDirectory(str(place), is_own=False)
    leave_something(place)
    os.chdir(tmp_path)
    directory.restore()

    assert Path.cwd() == place
    assert {one.name for one in place.iterdir()} == {"file", "folder"}


def test_a_job_may_leave_from_where_nobody_may_look(place, monkeypatch):
    """Its next job must not pay for it: the way back is by name."""
    directory = WorkDirectory(str(place), is_own=True)
    os.chdir("/")
    seen = []

    def closed(path: str) -> os.stat_result:
        seen.append(path)
        if len(seen) == 1:
            raise PermissionError(13, "Permission denied", path)
        return Path(path).stat()

    monkeypatch.setattr(work_directory, "_stat", closed)
    directory.restore()
    assert seen[0] == "."
    assert Path.cwd() == place


def test_what_sets_the_time_back_is_emptied_all_the_same(place):
    """No call sets back the time at which the inode changed."""
    directory = WorkDirectory(str(place), is_own=True)
    then = place.stat().st_mtime_ns
    leave_something(place)
    os.utime(place, ns=(then, then))
    directory.restore()

    assert not list(place.iterdir())
