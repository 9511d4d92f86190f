"""`docs/guarantees.md` names tests that exist, and one for each invariant."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guarantees.md"
INVARIANTS = 15

_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def functions_of(path: Path) -> set[str]:
    """Names of the test functions of a module."""
    tree = ast.parse(path.read_text())
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in tree.body if isinstance(node, kinds)}


def named() -> list[tuple[str, str]]:
    return _NAMED.findall(PAGE.read_text())


def test_every_test_that_the_page_names_exists():
    missing = [
        f"{path}::{name}"
        for path, name in named()
        if not (ROOT / path).is_file() or name not in functions_of(ROOT / path)
    ]
    assert missing == []


def test_every_test_on_the_page_is_named_with_its_file():
    assert re.findall(r"`[^`]*test_[^`]*`", _NAMED.sub("", PAGE.read_text())) == []


def test_every_invariant_has_a_row_and_a_test_of_its_number():
    rows = re.findall(r"^\| (\d+) \| .*test_invariant_(\d\d)_", PAGE.read_text(), re.MULTILINE)
    assert [(int(row), int(test)) for row, test in rows] == [
        (number, number) for number in range(1, INVARIANTS + 1)
    ]
