"""docs/cli.md has every flag of every command, in the words of `--help`.

The table is written by `python -m tests.unit.test_cli_flags_doc` when a test here fails.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from tests.support.imports import ROOT
from toril.cli.verbs import parser

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = ROOT / "docs" / "cli.md"
HEADING = "## All flags\n\n"


def commands(of: argparse.ArgumentParser, words: str = "") -> Iterator[tuple[str, str, str, str]]:
    """(command, flag, value, help) of every flag."""
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from commands(below, f"{words} {name}".strip())
        elif action.option_strings and not isinstance(action, argparse._HelpAction):
            value = "" if action.nargs == 0 else action.metavar or action.dest.upper()
            text = (action.help or "") % {**vars(action), "prog": of.prog}
            yield words, ", ".join(action.option_strings), value, text


def rendered() -> str:
    """The table, as the page has it."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for command, flag, value, text in commands(parser()):
        found.setdefault((flag, value, text), []).append(command)
    lines = ["| flag | of `toril …` | |", "|---|---|---|"]
    for (flag, value, text), of in sorted(found.items()):
        shown = f"{flag} {value}".strip().replace("|", "\\|")
        words = ", ".join(f"`{one}`" for one in of if one) or "itself"
        lines.append(f"| `{shown}` | {words} | {text.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def test_the_table_of_flags_is_the_parsers():
    assert PAGE.read_text(encoding="utf-8").endswith(HEADING + rendered())


@pytest.mark.parametrize("command", sorted({one[0] for one in commands(parser())} - {""}))
def test_every_flag_of_a_command_stands_on_the_page_with_it(command):
    """Read from the page itself, so that a table that drops rows is found."""
    rows = PAGE.read_text(encoding="utf-8").partition(HEADING)[2].splitlines()
    flags = {flag for of, flag, _, _ in commands(parser()) if of == command}
    there = [row.split("|") for row in rows if f"`{command}`" in row]
    named = {cells[1].strip(" `\\").split(" ")[0].rstrip("`") for cells in there}
    assert {flag for flag in flags if flag.split(",")[0] not in named} == set()


if __name__ == "__main__":
    head = PAGE.read_text(encoding="utf-8").partition(HEADING)[0].rstrip("\n")
    PAGE.write_text(f"{head}\n\n{HEADING}{rendered()}", encoding="utf-8")
