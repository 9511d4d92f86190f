"""`docs/isolation.md` says what the hostile suite proves: its table is made from the suite's."""

from __future__ import annotations

import re
from pathlib import Path

from tests.hostile.rows import BEGIN, END, TITLES, render
from tests.hostile.table import CASES, ROWS
from tests.unit.test_guarantees_doc import functions_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "isolation.md").read_text()

_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_the_table_is_the_one_that_the_suite_runs():
    """`python -m tests.hostile.rows` prints what belongs between the marks."""
    assert PAGE.partition(BEGIN)[2].partition(END)[0].strip() == render()


def test_every_row_has_a_title():
    assert len(TITLES) == ROWS
    assert {case.row for case in CASES} == set(range(ROWS + 1))


def test_every_test_that_the_page_names_exists():
    missing = [
        f"{path}::{name}"
        for path, name in _NAMED.findall(PAGE)
        if not (ROOT / path).is_file() or name not in functions_of(ROOT / path)
    ]
    assert missing == []


def test_every_statement_of_what_a_level_stops_has_its_test():
    """Each line of the page's tables of claims ends with a test."""
    claims = PAGE.partition("## What each level stops")[2].partition("\n## ")[0]
    rows = [line for line in claims.splitlines() if line.startswith("| ")][1:]

    assert len(rows) > 8
    assert [row for row in rows if not _NAMED.search(row.split("|")[-2])] == []
