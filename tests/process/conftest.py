"""Fixtures of tests with real children, who are other users when root runs the tests."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """Pytest's, in reach of every user."""
    top = Path(tempfile.gettempdir())
    for directory in (tmp_path, *tmp_path.parents):
        if directory == top:
            break
        directory.chmod(0o777 if directory == tmp_path else 0o755)
    return tmp_path
