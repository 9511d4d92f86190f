"""Every entry of the interop checklist has a test that names its number, or a reason for none.

A test against real BullMQ names its entries in its own name, `test_7_8_…`, or, where one test walks
a whole table of cases, with `@pytest.mark.entries(7, 8)`.
"""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.support.imports import ROOT

ENTRIES = {
    1: "a worker here completes a job from Node, and Node sees it",
    2: "a hundred jobs run in the order of addition",
    3: "a LIFO job runs first",
    4: "priorities, equal ones in order",
    5: "a delayed job wakes an idle worker by the marker",
    6: "jobs due in the same millisecond run in order",
    7: "a fixed back-off, every attempt on the job",
    8: "an exponential back-off",
    9: "a back-off as a bare number",
    10: "jitter",
    11: "an unrecoverable error",
    12: "keep rules",
    13: "limited logs",
    14: "progress of every type",
    15: "updated data in a later attempt",
    16: "limited stack traces",
    17: "Node's waitUntilFinished resolves and rejects",
    18: "a processor that returns nothing",
    19: "odd text, and a megabyte",
    20: "a removed job is never run",
    21: "a running job is locked",
    22: "the end of the owner releases the deduplication id",
    23: "the newest job follows the one that ran",
    24: "an idle Node worker starts an added job at once",
    25: "delayed, prioritized, LIFO: the same keys",
    26: "a custom id twice",
    27: "Node retries with attempts and back-off from here",
    28: "a child for a running parent",
    29: "10,000 jobs in bulk",
    30: "what must be refused",
    31: "adding to a paused queue",
    32: "a worker of BullMQ 5",
    33: "every mode of deduplication",
    34: "10,000 ids of two producers",
    35: "5,000 jobs on a mixed fleet",
    36: "kill -9 of a worker here",
    37: "kill -9 of a Node worker",
    38: "no stall allowed, both directions",
    39: "a job of three locks' length",
    40: "a lost lock",
    41: "one sweep a period",
    42: "global concurrency",
    43: "a worker's limiter",
    44: "the global rate limit",
    45: "the rate-limit error",
    46: "pause and resume by Node",
    47: "jobs that BullMQ 5 has set aside",
    48: "the chain of markers",
    49: "a worker that dies with the marker",
    50: "started too often",
    51: "parent in Node, children here",
    52: "parent here, children in Node",
    53: "a child's failure, by option",
    54: "failure through three queues",
    55: "a parent with delay and priority",
    56: "completing with pending children",
    57: "two last children at once",
    58: "adding a flow here",
    59: "a retried child",
    60: "unprocessed children are removed",
    61: "every second, ten times",
    62: "cron over changes of clocks",
    63: "defining a scheduler here",
    64: "a limit of runs",
    65: "start and end",
    66: "a retried scheduler job",
    67: "five missed periods",
    68: "defining anew",
    69: "removed while its job runs",
    70: "listing schedulers here",
    71: "QueueEvents, every field",
    72: "QueueEvents survives odd values",
    73: "Bull Board",
    74: "counts",
    75: "the list of workers",
    76: "metrics",
    77: "clean, drain, obliterate leave nothing",
    78: "no orphans",
    79: "changes of jobs, both ways",
    80: "the stream's length",
    81: "prefixes",
}

BOTH_VERSIONS = {1, 5, 24, 32, 47, 61}
"""Entries that have to hold with BullMQ 5 as well."""

LEFT_OUT = {
    58: "flows are added with Node: adding whole ones is not built",
    63: "schedulers are defined with Node: defining them is not built",
    70: "there is no listing of schedulers",
}

IN_PART = {
    43: "a worker here has no limiter of its own; the queue's binds both kinds",
    44: "likewise: no window of 100 ms of one worker alone",
    68: "defined anew by Node, carried on here",
    81: "prefixes with a colon or a hash tag; not on a Redis Cluster, which is not supported",
}
"""Entries of which a part is left out, and why."""

ELSEWHERE = {35: "the mixed fleet has a suite of its own"}


@cache
def _tests() -> list[tuple[set[int], str]]:
    """(entries, decorators and arguments) of every test in `tests/interop`."""
    return [
        (_entries(one), ast.unparse(ast.Tuple([*one.decorator_list])) + ast.unparse(one.args))
        for path in sorted((ROOT / "tests" / "interop").glob("test_*.py"))
        for one in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def _entries(test: ast.FunctionDef | ast.AsyncFunctionDef) -> set[int]:
    named = re.match(r"test_((?:\d+_)+)", test.name)
    found = set(map(int, named[1].strip("_").split("_"))) if named else set()
    for one in test.decorator_list:
        if isinstance(one, ast.Call) and ast.unparse(one.func) == "pytest.mark.entries":
            found |= {ast.literal_eval(number) for number in one.args}
    return found


def _covered() -> set[int]:
    return set().union(*(entries for entries, _text in _tests()))


def test_the_list_has_no_gap() -> None:
    assert list(ENTRIES) == list(range(1, 82))


@pytest.mark.parametrize("number", ENTRIES)
def test_entry_has_a_test_or_a_reason(number: int) -> None:
    assert number in _covered() | LEFT_OUT.keys() | ELSEWHERE.keys(), ENTRIES[number]


def test_no_reason_outlives_its_test() -> None:
    assert LEFT_OUT.keys() & _covered() == set()
    assert IN_PART.keys() <= _covered()


def test_every_number_in_a_tests_name_is_an_entry() -> None:
    assert _covered() <= ENTRIES.keys()


@pytest.mark.parametrize("number", sorted(BOTH_VERSIONS))
def test_entry_holds_with_both_versions(number: int) -> None:
    """Its test is run for both, or for 5 alone where only 5 is concerned."""
    texts = [text for entries, text in _tests() if number in entries]
    assert any("BOTH_MAJORS" in text or "'node', [5]" in text for text in texts)
