"""House limits that a reader feels, held loosely: lengths, and what text may say."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.support.imports import ROOT, sources

MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 50
LONG_FUNCTIONS: set[str] = set()
"""`module:function` of tables and argument parsers that are easier read in one piece."""

_MACHINE_PATH = re.compile(r"(?<![\w.$}/~-])/(?:work|root|home|Users)/\w")
_UNDONE = re.compile(r"\b(?:TO[D]O|FIX[M]E|XX[X])\b")


@cache
def _texts() -> dict[str, str]:
    """Path → text of every file of text that is, or is about to be, in the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [Path(name) for name in listed.stdout.split("\0") if name]
    return {
        str(path): _text(ROOT / path)
        for path in paths
        if (ROOT / path).is_file() and path.suffix != ".png"
    }


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")


def _matches(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()}"
        for path, text in _texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_is_too_long_to_read():
    lines = {name: len(_text(path).splitlines()) for name, path in sources().items()}

    assert {name: count for name, count in lines.items() if count > MAX_FILE_LINES} == {}


def test_no_function_is_too_long_to_read():
    found = set()
    for name, path in sources().items():
        for node in ast.walk(ast.parse(_text(path))):
            if (
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                and node.end_lineno - node.lineno >= MAX_FUNCTION_LINES
            ):
                found.add(f"{name}:{node.name}")

    assert found == LONG_FUNCTIONS


def test_no_path_of_one_machine_is_in_the_repository():
    assert _matches(_MACHINE_PATH) == []


def test_nothing_is_left_undone_in_a_comment():
    assert _matches(_UNDONE) == []
