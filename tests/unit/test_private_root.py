"""What is planned for the root of a strict child; mounting it is tested with real processes."""

from __future__ import annotations

import pytest

from toril.sandbox.private_root import DEVICES, Entry, Kind, plan


@pytest.fixture
def tree(tmp_path):
    """/real/lib/a.py, /link -> real, /real/abs -> the file by its full path."""
    (tmp_path / "real" / "lib").mkdir(parents=True)
    (tmp_path / "real" / "lib" / "a.py").write_text("")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "abs").symlink_to(tmp_path / "real" / "lib" / "a.py")
    return tmp_path


def planned(*paths):
    """The entries of a plan without the devices, by path."""
    entries = {entry.path: entry for entry in plan([str(path) for path in paths])}
    return {path: entry for path, entry in entries.items() if not path.startswith("/dev")}


def test_directory_is_shown_under_its_own_path(tree):
    lib = str(tree / "real" / "lib")

    found = planned(lib)

    assert found[lib] == Entry(Kind.TREE, lib)
    assert found[str(tree)] == Entry(Kind.DIRECTORY, str(tree))
    assert str(tree / "link") not in found


def test_parents_come_before_what_lies_in_them(tree):
    paths = [entry.path for entry in plan([str(tree / "real" / "lib")])]

    assert paths == sorted(paths)


def test_link_on_the_way_is_made_anew_and_its_target_shown(tree):
    found = planned(tree / "link" / "lib")

    link, lib = str(tree / "link"), str(tree / "real" / "lib")
    assert found[link] == Entry(Kind.LINK, link, "real")
    assert found[lib] == Entry(Kind.TREE, lib)


def test_link_to_a_file_shows_that_file_only(tree):
    found = planned(tree / "abs")

    path = str(tree / "real" / "lib" / "a.py")
    assert found[path] == Entry(Kind.FILE, path)
    assert str(tree / "real" / "lib") in found
    assert found[str(tree / "real" / "lib")].kind is Kind.DIRECTORY


def test_path_below_another_needs_no_view_of_its_own(tree):
    found = planned(tree / "real", tree / "real" / "lib", tree / "link")

    assert found[str(tree / "real")].kind is Kind.TREE
    assert str(tree / "real" / "lib") not in found


def test_what_is_not_there_is_left_out(tree):
    (tree / "circle").symlink_to("circle")

    assert planned(tree / "missing", tree / "circle").keys() <= {str(tree / "circle")} | {
        str(parent) for parent in (tree, *tree.parents)
    }


def test_devices_are_always_there():
    kinds = {entry.path: entry.kind for entry in plan([])}

    assert {path: kinds[path] for path in DEVICES} == dict.fromkeys(DEVICES, Kind.DEVICE)
