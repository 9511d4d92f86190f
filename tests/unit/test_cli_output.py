"""What commands write reaches a terminal as text, and in columns."""

from __future__ import annotations

import json

import pytest

from toril.cli.output import Table, put_json, time_of, visible_lines
from toril.cli.records import LogLine
from toril.errors import InvalidJobData
from toril.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 漢", "plain ü 漢"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\nb\r", "a\\nb\\r"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202edrawkcab", "\\u202edrawkcab"),
        ("\ud800", "\\ud800"),
    ],
)
def test_text_of_others_cannot_steer_a_terminal(text, shown):
    assert visible(text) == shown


def test_lines_stay_lines_where_they_are_wanted():
    assert visible_lines("a\x1b\nb\n") == "a\\x1b\nb"


def test_columns_are_aligned_and_never_wander_back(capsys):
    table = Table(("ID", "NAME", "REASON"))
    table.add([("1", "short", "x\x1b"), ("22", "n" * 70, "long " * 30)])
    table.add([("3", "a", "")])
    head, first, second, third = capsys.readouterr().out.splitlines()
    assert head.index("NAME") == first.index("short") == second.index("nnn") == third.index("a")
    assert "\\x1b" in first
    assert "…" in second
    assert second.endswith("long " * 29 + "long")


def test_json_is_one_line_of_ascii(capsys):
    put_json(LogLine(0, "ü\n\u2028\x1b"))
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert json.loads(out) == {"number": 0, "line": "ü\n\u2028\x1b"}


def test_json_is_json_whatever_another_program_stored(capsys):
    put_json({"data": [float("nan"), float("inf"), "NaN"]})
    out = capsys.readouterr().out
    assert json.loads(out, parse_constant=pytest.fail) == {"data": ["NaN", "Infinity", "NaN"]}
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidJobData, match="nested"):
        put_json({"data": deep})
    while deep:
        deep = deep.pop()


@pytest.mark.parametrize("ms", [None, 10**18, -(10**18)])
def test_a_time_that_is_none_is_a_question_mark(ms):
    assert time_of(ms) == "?"
