"""Levels on hosts that lack something: enforced whole, or refused by name; never weakened."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.hostile.filters import FILTERS, MACHINE
from tests.hostile.table import CASES, OPEN
from tests.hostile.users import Place, place_for, run_as, who_can_be
from toril.sandbox.levels import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ["kill_others", "reach_redis_by_tcp", "reach_redis_by_path", "read_private_files"]
NAMES += ["run_programs", "write_outside", "exit_with-0", "take_memory"]
"""Cases of every kind, for the short run."""

WHO = ["ordinary", pytest.param("root", marks=pytest.mark.slow)]

REFUSALS = [
    ("restricted", "landlock-off", "landlock"),
    ("restricted", "seccomp-unknown", "seccomp"),
    ("strict", "docker", "namespaces"),
    ("strict", "mounts-denied", "namespaces"),
    *(
        pytest.param(*one, marks=pytest.mark.slow)
        for one in (
            ("restricted", "landlock-unknown", "landlock"),
            ("restricted", "landlock-denied", "landlock"),
            ("strict", "namespaces-denied", "namespaces"),
            ("strict", "namespaces-none-left", "namespaces"),
            ("strict", "landlock-off", "landlock"),
        )
    ),
]
WAIVERS = [("restricted", "landlock-off", "landlock"), ("restricted", "seccomp-unknown", "seccomp")]
CGROUP = "cgroup"
"""Few hosts that run tests have delegated one; what else is missing is what these are about."""


def test_filters_know_every_call_that_they_name():
    named = {
        name
        for policy in FILTERS.values()
        for name in (*policy.denied, *(rule.call for rule in policy.rules))
    }
    assert named - set(MACHINE.numbers) == set()


@pytest.fixture(params=WHO)
def who(request: pytest.FixtureRequest) -> str:
    if request.param not in who_can_be():
        pytest.skip(f"cannot be {request.param} here")
    return request.param


@pytest.fixture
def place(who: str) -> Iterator[Place]:
    with place_for(who) as found:
        yield found


def said(place: Place, *command: str) -> list[dict[str, Any]]:
    done = run_as(place, ["tests.hostile.filters", *command])
    assert done.stdout, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.timeout(120)
def test_restricted_holds_in_a_container_with_dockers_profile(place):
    records = said(place, "docker", "tests.hostile.arena", "restricted", *NAMES)

    assert [one for one in records if one["problems"]] == []
    assert len(records) == len(NAMES)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_restricted_holds_in_a_container_against_everything(place):
    records = said(place, "docker", "tests.hostile.arena", "restricted")

    assert [one for one in records if one["problems"]] == []
    assert len(records) == sum(case.expected[Level.RESTRICTED] is not OPEN for case in CASES)


def test_restricted_starts_in_a_container(place):
    assert said(place, "docker", "tests.hostile.start", "restricted") == [
        {"verdict": "returned", "value": "5"}
    ]


@pytest.mark.parametrize(("level", "hidden", "name"), REFUSALS)
def test_level_without_its_mechanism_is_refused_by_name(level, hidden, name, place):
    (refusal,) = said(place, hidden, "tests.hostile.start", level, CGROUP)

    assert (refusal["level"], refusal["missing"]) == (level, [name])
    assert f'level "{level}" cannot be enforced' in refusal["reason"]
    assert name in refusal["reason"].lower()
    assert 'level = "process"' in refusal["remedy"]


@pytest.mark.parametrize(("level", "hidden", "name"), WAIVERS)
def test_level_whose_missing_mechanism_is_waived_in_writing_starts(level, hidden, name, place):
    assert said(place, hidden, "tests.hostile.start", level, name) == [
        {"verdict": "returned", "value": "5"}
    ]


@pytest.mark.parametrize(
    "hidden", ["docker", pytest.param("landlock-unknown", marks=pytest.mark.slow)]
)
def test_process_needs_nothing_of_the_kernel(hidden, place):
    assert said(place, hidden, "tests.hostile.start", "process") == [
        {"verdict": "returned", "value": "5"}
    ]
