"""Every script is assembled, documented and short; production never tells it the time."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import pytest

from toril.call import Outcome, Verdict
from toril.runtime import administering, changing, dependencies, publishing
from toril.runtime.asking import answer_stack, cancel_job
from toril.runtime.claim import Claim, ClaimRequest, Marker, Report
from toril.runtime.claiming import (
    adopt_jobs,
    claim_jobs,
    put_back_marker,
    renew_locks,
    sweep_stalled,
)
from toril.runtime.fleet import beat
from toril.runtime.limiter import RateLimit
from toril.runtime.retry import Complete, Delay, Fail, GiveBack, Hold, Retry
from toril.runtime.scripts import LUA, _resolved, script, script_names
from toril.runtime.settling import Ending, Said, settle, store_report

if TYPE_CHECKING:
    from pathlib import Path

CLAIM = Claim("1", "t:1", "n")
OUTCOME = Outcome(Verdict.RAISED)
REFUSED_WHEN_FULL = {
    "add",
    "add_log",
    "add_one",
    "add_tied",
    "answer_stack",
    "publish_event",
    "report",
    "update_data",
    "update_progress",
}
LONGEST_SCRIPT_LINES = 100

every_script = pytest.mark.parametrize("name", script_names())


@every_script
def test_includes_are_resolved_once(name: str) -> None:
    text = script(name).text
    assert "-- include" not in text
    functions = re.findall(r"^local function (\w+)", text, re.MULTILINE)
    assert len(functions) == len(set(functions))


@every_script
def test_shebang_stands_first_and_says_what_a_full_server_may_refuse(name: str) -> None:
    first = script(name).text.splitlines()[0]
    if name in REFUSED_WHEN_FULL:
        assert first == "#!lua"
    else:
        assert first in {"#!lua flags=allow-oom", "#!lua flags=no-writes"}


@every_script
def test_sha_is_the_texts(name: str) -> None:
    found = script(name)
    assert found.sha == hashlib.sha1(found.text.encode()).hexdigest()
    assert script(name) is found


@every_script
def test_header_says_keys_arguments_reply_and_events(name: str) -> None:
    header = re.split(r"^(?!--|#!)", (LUA / f"{name}.lua").read_text(), flags=re.MULTILINE)[0]
    reads_only = "flags=no-writes" in header
    for word in ("KEYS[1]", "Returns") if reads_only else ("KEYS[1]", "ARGV", "Returns", "Events"):
        assert word in header


@every_script
def test_script_is_short(name: str) -> None:
    assert len((LUA / f"{name}.lua").read_text().splitlines()) <= LONGEST_SCRIPT_LINES


@pytest.mark.parametrize("path", sorted(LUA.glob("lib/*.lua")), ids=lambda path: path.stem)
def test_shared_piece_includes_what_it_uses(path: Path) -> None:
    """So the order of includes in a script does not matter."""
    used = set(re.findall(r"\w+", path.read_text()))
    reachable = _resolved(path, seen=set())
    for other in LUA.glob("lib/*.lua"):
        for function in re.findall(r"^local function (\w+)", other.read_text(), re.MULTILINE):
            assert function not in used or f"local function {function}(" in reachable


@every_script
def test_piece_included_inside_a_function_is_used_only_there(name: str) -> None:
    """Outside it nothing of it is known, which only the branch that runs would tell."""
    text = (LUA / f"{name}.lua").read_text()
    seen: set[Path] = set()
    for piece in re.findall(r"^-- include (\S+)$", text, re.MULTILINE):
        _resolved(LUA / piece, seen)
    inside = re.findall(r"^ +-- include (\S+)$", text, re.MULTILINE)
    inner = "\n".join(_resolved(LUA / piece, seen) for piece in inside if LUA / piece not in seen)
    lazily = r"(lazily\(function\(\)\n.*?\nend\)|function rarely\(\)\n.*?\nend\n)"
    rest = re.sub(lazily, "", text, count=1, flags=re.DOTALL)
    assert "  -- include" not in rest
    used = set(re.findall(r"(?<![.\w])\w+(?= *\()", rest))
    assert used.isdisjoint(re.findall(r"^local function (\w+)", inner, re.MULTILINE))


def test_unknown_script_is_a_programming_error() -> None:
    with pytest.raises(FileNotFoundError):
        script("no-such-script")


def test_production_never_passes_a_time_of_its_own() -> None:
    """Time for locks, limits and delays is the server's (TIME inside the script)."""
    request = ClaimRequest(2, 30_000, RateLimit(1, 1000, 1))
    settlements = (Complete(), Fail("x"), Retry("x", 0), GiveBack(), Delay(1), Hold(1))
    commands = [
        claim_jobs("b:", request, ["t:1", "t:2"]),
        adopt_jobs("b:", ["t:1"]),
        renew_locks("b:", [CLAIM], 30_000),
        sweep_stalled("b:", 1, 30_000),
        put_back_marker("b:", Marker("0", 0)),
        store_report("b:", Report(CLAIM), Said()),
        cancel_job("b:", "1"),
        answer_stack("b:", "0" * 32, "text"),
        beat("b:", "0" * 32, b"{}", 30_000),
        administering.clean_queue("b:", administering.Cleaning("failed", 0)),
        administering.retry_some("b:", administering.Retrying("failed", 1)),
        administering.drain_queue("b:", delayed=True),
        administering.obliterate_queue("b:", is_first=True, force=True),
        administering.pause_queue("b:"),
        administering.resume_queue("b:"),
        administering.promote_some("b:", 1),
        changing.change_job_delay("b:", "1", 1),
        changing.change_job_priority("b:", "1", 1, lifo=False),
        changing.promote_job("b:", "1"),
        changing.retry_job("b:", "1", "failed"),
        changing.remove_job("b:", "1", with_children=True),
        changing.update_job_data("b:", "1", b"1"),
        changing.update_job_progress("b:", "1", b"1"),
        changing.add_log_line("b:", "1", b"x", None),
        dependencies.untie("b:", "1"),
        dependencies.remove_unprocessed("b:", "1"),
        publishing.publish("b:", {"event": "x"}, 10),
        *(settle("b:", Ending(CLAIM, settlement, OUTCOME)) for settlement in settlements),
    ]
    for command in commands:
        assert command is not None
        assert command.args[0] == ""
        assert command.keys == ("b:",)
