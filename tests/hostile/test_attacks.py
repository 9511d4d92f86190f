"""Every attack meets what the table says, and nothing around it is touched.

An arena runs all cases of a level as one user; each test here reads one case's record.
"""

from __future__ import annotations

import functools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.hostile.table import CASES, GRANTS, OPEN, ROWS, Case
from tests.hostile.users import place_for, run_as, who_can_be
from toril.sandbox.levels import Level

if TYPE_CHECKING:
    from collections.abc import Callable

SHORT_PASSES = {(Level.RESTRICTED, "ordinary"), (Level.STRICT, "root")}
"""One level as each user in every run; the others in the full suite."""

Records = dict[str, dict[str, Any]]


def passes() -> list[Any]:
    """(level, user, case) of everything that claims something."""
    return [
        pytest.param(
            level,
            who,
            case,
            id=f"{level.value}-{who}-{case.id}",
            marks=_marks(level, who),
        )
        for level in Level
        for who in ("ordinary", "root")
        for case in CASES
        if case.expected[level] is not OPEN
    ]


def _marks(level: Level, who: str) -> list[pytest.MarkDecorator]:
    """What one arena tells belongs to one worker of several: else each would run it for itself."""
    together = pytest.mark.xdist_group(f"{level.value}-{who}")
    return [together] if (level, who) in SHORT_PASSES else [together, pytest.mark.slow]


@pytest.fixture(scope="module")
def records() -> Callable[[Level, str], Records]:
    """(level, user) → what became of each case; each pair is run when it is first asked for."""

    @functools.cache
    def run(level: Level, who: str) -> Records:
        with place_for(who) as place:
            done = run_as(place, ["tests.hostile.arena", level.value])
        found = [json.loads(line) for line in done.stdout.splitlines()]
        records = {one["case"]: {**one, "stderr": done.stderr[-4000:]} for one in found}
        return records or {"": {"stderr": done.stderr[-4000:]}}

    return run


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("level", "who", "case"), passes())
def test_attack_meets_what_it_must(level: Level, who: str, case: Case, records):
    if who not in who_can_be():
        pytest.skip(f"cannot be {who}: these tests run as user {os.getuid()}")
    found = records(level, who)

    assert case.id in found, ("the arena ended before this case", *list(found.values())[-1:])
    assert found[case.id]["problems"] == [], found[case.id]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("grant", list(GRANTS))
@pytest.mark.parametrize("who", ["ordinary", pytest.param("root", marks=pytest.mark.slow)])
def test_a_grant_opens_no_more_than_it_says(who, grant):
    """With processes or TCP of its own, an attacker still reaches nobody else's."""
    if who not in who_can_be():
        pytest.skip(f"cannot be {who}: these tests run as user {os.getuid()}")
    with place_for(who) as place:
        done = run_as(place, ["tests.hostile.arena", f"restricted+{grant}"])
    found = [json.loads(line) for line in done.stdout.splitlines()]

    assert [one for one in found if one["problems"]] == []
    assert len(found) == len(GRANTS[grant]), done.stderr[-3000:]


def test_every_row_has_a_case():
    assert {case.row for case in CASES} - {0} == set(range(1, ROWS + 1))


def test_every_case_has_a_name_of_its_own():
    names = [case.id for case in CASES]
    assert [name for name in names if names.count(name) > 1] == []


def test_from_restricted_up_nothing_is_open():
    """An attack that succeeds may be so at `process` only."""
    walls = (Level.RESTRICTED, Level.STRICT)
    assert [case.id for case in CASES if any(case.expected[one] is OPEN for one in walls)] == []


def test_runs_at_the_same_time_see_nothing_of_each_other():
    """Or one would take the other's processes for what its attacks left."""
    with place_for("ordinary") as one, place_for("ordinary") as other:
        if os.getuid() == 0:
            assert one.uid != other.uid
        command = ["tests.hostile.arena", "process", "exit_with", "return_nan"]
        with ThreadPoolExecutor() as pool:
            both = list(pool.map(lambda place: run_as(place, command), [one, other]))

    for done in both:
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert [record["problems"] for record in found] == [[]] * len(found), done.stderr[-3000:]
        assert len(found) > 1
