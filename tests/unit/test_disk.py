"""What a work directory holds: how it is counted."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from toril.sandbox.disk import BLOCK_BYTES, UnmeasurableError, measure

MIB = 1024 * 1024


def total(directory, limit=10**12):
    return max(measure(str(directory), limit), default=0)


def test_empty_directory_holds_nothing(tmp_path):
    assert total(tmp_path) == 0


def test_files_count_what_they_take_on_disk(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_bytes(bytes(MIB))

    assert MIB <= total(tmp_path) <= MIB + 4 * BLOCK_BYTES


def test_empty_files_count_a_block_each(tmp_path):
    for number in range(20):
        (tmp_path / str(number)).touch()

    assert total(tmp_path) == 20 * BLOCK_BYTES


def test_reserved_space_counts_and_holes_do_not(tmp_path):
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(100 * MIB)
    with_hole = total(tmp_path)
    with (tmp_path / "reserved").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, MIB)

    assert with_hole == BLOCK_BYTES
    assert total(tmp_path) > MIB


def test_counting_stops_at_the_limit(tmp_path):
    """A million files must not be looked at when a thousand are too many."""
    for number in range(50):
        (tmp_path / str(number)).touch()

    assert len(list(measure(str(tmp_path), 10 * BLOCK_BYTES))) == 11


def test_links_are_not_followed(tmp_path):
    (tmp_path / "out").symlink_to("/usr")

    assert total(tmp_path) == BLOCK_BYTES


def test_directory_too_deep_to_have_a_path_is_told(tmp_path):
    code = "import os, sys\nfor _ in range(30): os.mkdir('d' * 200); os.chdir('d' * 200)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)

    with pytest.raises(UnmeasurableError, match="cannot be listed"):
        total(tmp_path)
