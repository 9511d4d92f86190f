"""The command line as a whole: light, with an example for everything, completed by shells."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from tests.support.imports import ROOT
from toril.cli.completion import places
from toril.cli.main import main
from toril.cli.records import OUTPUTS, schema
from toril.cli.verbs import parser

PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
SCHEMA = ROOT / "docs" / "schemas" / "commands.json"
HEAVY = ("redis", "pydantic", "rich", "uvloop", "asyncio", "msgspec")

LOADED = f"""
import sys
try:
    import toril.__main__
except SystemExit:
    pass
print(sorted(set({HEAVY!r}) & set(sys.modules)))
"""


def parsers(of=None, path="toril"):
    of = of or parser()
    yield path, of
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from parsers(below, f"{path} {name}")


ALL = dict(parsers())


@pytest.mark.parametrize(
    "words",
    [["--version"], ["--help"], ["jobs", "--help"], ["jobs", "retry", "--help"], ["completion"]],
)
def test_help_and_version_import_nothing_heavy(words):
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("path", [path for path in ALL if path != "toril"])
def test_every_verb_shows_an_example_that_can_be_read(path):
    one = ALL[path]
    example = (one.epilog or "").removeprefix("example: ")
    assert example, path
    commands = [part.strip(' )"') for part in re.split(r"; |\||<\(|\$\(", example)]
    for command in commands:
        if command.startswith("toril "):
            parser().parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize("path", [path for path in ALL if path.count(" ") == 2])
def test_every_action_stands_on_the_page(path):
    assert re.search(rf"{path}[ `]", PAGE)


def test_the_schema_is_that_of_what_is_written():
    """Write `json.dumps(toril.cli.records.schema(), indent=2)` into the file when this fails."""
    assert SCHEMA.read_text(encoding="utf-8") == json.dumps(schema(), indent=2) + "\n"


def test_every_output_stands_on_the_page():
    names = {name.removesuffix(" --dry-run") for name in OUTPUTS}
    assert {name for name in names if f"`toril {name}" not in PAGE} == set()


def test_every_verb_is_completed():
    found = {place.path: place.words for place in places(parser())}
    assert {f"toril {path}".strip() for path in found} == set(ALL)
    assert {"jobs", "queue", "check", "--version"} <= found[""].keys()
    assert {"list", "retry", "stack"} <= found["jobs"].keys()
    assert {"--state", "--dry-run", "--yes"} <= found["jobs retry"].keys()


def completed(capsys, line):
    """What bash offers for the last word of a line."""
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    words = line.split(" ")
    array = " ".join(shlex.quote(word) for word in words)
    asked = f'COMP_WORDS=({array}); COMP_CWORD={len(words) - 1}; _toril; echo "${{COMPREPLY[*]}}"'
    done = subprocess.run(
        ["bash", "--norc", "-c", script + asked],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("line", "some", "none"),
    [
        ("toril ", {"jobs", "run", "completion"}, {"list"}),
        ("toril jo", {"jobs"}, {"run"}),
        ("toril jobs re", {"retry", "remove"}, {"list", "run"}),
        ("toril jobs retry 17 --", {"--state", "--queue"}, {"--tail"}),
        ("toril jobs list --queue images --st", {"--state"}, {"list"}),
        ("toril completion ", {"bash", "zsh", "fish"}, {"jobs"}),
    ],
)
def test_bash_completes(capsys, line, some, none):
    found = completed(capsys, line)
    assert some <= found
    assert not none & found


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_scripts_for_other_shells_name_every_verb(capsys, shell):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert {
        path.split()[-1] for path in ALL if path != "toril" and path.split()[-1] not in script
    } == set()
    if shell == "fish":
        assert all(line.startswith("complete -c toril ") for line in script.splitlines())
        assert all(line.count("'") % 2 == 0 or "\\'" in line for line in script.splitlines())
