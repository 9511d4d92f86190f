"""Runs attacks against one zygote and looks at everything around it after each.

Run as `python -m tests.hostile.arena LEVEL[+GRANT] [CASE …]`, as whatever user is to be attacked.
It prints one JSON object for each case: what came of it, and the `problems` that must be none.
The level `none` runs nothing: it tells whether this user can import what is needed.
"""

# ruff: noqa: T201 - what it prints is read by the tests

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from tests.hostile.canaries import Canaries, processes_of
from tests.hostile.table import CASES, GRANTS, MIB, TARGETS, Case, Ended, Gave, Refused
from tests.process.harness import fds_after, open_fds, pen
from toril.call import Outcome, Verdict
from toril.sandbox import tree
from toril.sandbox.allow import Allow
from toril.sandbox.levels import Level

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.hostile.table import Expected
    from tests.process.harness import Pen
    from toril.sandbox.handle import Child

ATTACKS = "tests.hostile.attacks:processors"
MARKER = "s3cr3t-"
CASE_S = 20.0
"""Longest case; chosen: many times what any takes."""

WAIVED = ("cgroup",)
"""What hosts lack that have delegated no cgroup; where they have one, it is used."""

ALLOWED = {"": Allow(), "exec": Allow(exec=True), "network": Allow(network=("tcp",))}

LIMITS = {
    "timeout_s": 10.0,
    "grace_s": 0.1,
    "memory_bytes": 128 * MIB,
    "open_files": 96,
    "output_bytes": 256 * 1024,
}


class Arena:
    """One user, one level, one zygote, a neighbour and things that must stay untouched."""

    def __init__(self, level: Level, canaries: Canaries, pen: Pen) -> None:
        self.level = level
        self._canaries = canaries
        self._pen = pen
        self._usual = pen.zygote._spec
        self._zygote_pid = pen.zygote.pid
        self._neighbour: Child | None = None
        self._replies: list[Any] = []
        self._answers = True
        pen.answer = self._answer

    async def run(self, case: Case) -> dict[str, Any]:
        """One case with everything around it."""
        began_s, self._answers = time.monotonic(), case.is_answered
        await self._stand_by()
        before, outside = open_fds(), self._canaries.outside()
        child = await self._fork(case.limits, 1)
        sibling = self._neighbour
        outcome = await self._pen.run(case.name, self._data(case), child=child)
        problems = judged(case.expected[self.level], outcome)
        problems += await self._next_job(child, is_taken=case.takes_child)
        await self._let_go(child, is_taken=case.takes_child)
        problems += await self._around(before, outside)
        problems += await self._let_neighbour_go(sibling)
        return {
            "case": case.id,
            "level": self.level.value,
            "uid": os.getuid(),
            "verdict": outcome.verdict.value,
            "message": outcome.message[:300],
            "value": outcome.value.decode("utf-8", "replace")[:3000],
            "ms": round((time.monotonic() - began_s) * 1000),
            "problems": problems,
        }

    def _answer(self, child: Child, reply: Any) -> None:
        """Only the neighbour's question waits until it is answered."""
        if child is self._neighbour:
            self._replies.append(reply)
        elif self._answers:
            reply.give("12")

    async def _stand_by(self) -> None:
        """A neighbour in the middle of a job."""
        if self._neighbour is None:
            self._neighbour = await self._fork({"timeout_s": 60.0}, 2)
        self._pen.begin(self._neighbour, "hold")
        await self._pen.until(lambda: self._replies)

    async def _let_neighbour_go(self, sibling: Child | None) -> list[str]:
        heard = self._pen.heard[sibling]
        if heard.exits:
            self._neighbour, self._replies = None, []
            return [f"the neighbour died: {heard.exits[0].message}"]
        self._replies.pop().give("unharmed")
        outcome = await self._pen.finish(sibling)
        await self._pen.until(lambda: heard.exits or heard.order[-1] == "idle")
        if heard.exits:
            self._neighbour = None
        return [] if outcome.value == b'"unharmed"' else [f"the neighbour said {outcome}"]

    async def _fork(self, limits: Mapping[str, Any], slot: int) -> Child:
        """A child with limits of its own, as far as the supervisor keeps them."""
        spec = self._usual
        self._pen.zygote._spec = replace(spec, limits=replace(spec.limits, **limits))
        try:
            return await self._pen.child(slot)
        finally:
            self._pen.zygote._spec = spec

    def _data(self, case: Case) -> Any:
        if case.data is not TARGETS:
            return case.data
        pids = {
            "supervisor": os.getpid(),
            "supervisor_group": os.getpgrp(),
            "zygote": self._zygote_pid,
            "sibling": self._neighbour.pid,
        }
        return {**pids, **self._canaries.targets(), "marker": MARKER, "argument": case.argument}

    async def _next_job(self, child: Child, *, is_taken: bool) -> list[str]:
        """Give the next job to the same child if it can be had, else to a new one."""
        heard = self._pen.heard[child]
        await self._pen.until(lambda: heard.exits or heard.idles > 1)
        token = secrets.token_hex(8)
        if heard.exits or is_taken:
            other = await self._pen.child(3)
            outcome = await self._pen.run("echo", token, child=other)
            await self._let_go(other)
        else:
            outcome = await self._pen.run("echo", token, child=child)
        if outcome.verdict is Verdict.RETURNED and json.loads(outcome.value) == token:
            return []
        return [
            f"the next job ended as {outcome.verdict.value}: {outcome.message or outcome.value}"
        ]

    async def _let_go(self, child: Child, *, is_taken: bool = False) -> None:
        """A child that is taken does not hear that it should go."""
        if is_taken:
            child.kill(Verdict.INTERRUPTED)
        child.retire()
        await self._pen.gone(child)

    async def _around(self, fds: set[str], outside: dict[str, Any]) -> list[str]:
        """Whatever is not as it was."""
        problems = list(self._canaries.problems())
        if (now := self._canaries.outside()) != outside:
            problems.append(f"outside has changed: {sorted(now.items() ^ outside.items())}")
        if (now_open := await fds_after(fds)) != fds:
            problems.append(f"descriptors: {sorted(now_open ^ fds)}")
        if self._pen.zygote_ends:
            problems.append(f"the zygote is gone: {self._pen.zygote_ends}")
        if token := self._canaries.found_in(repr(list(self._pen.heard.values()))):
            problems.append(f"{token} was seen")
        self._forget()
        return problems + await self._strangers()

    def _forget(self) -> None:
        """Keep what is heard of the neighbour only: floods are long."""
        for child, heard in self._pen.heard.items():
            if child is not self._neighbour:
                heard.log, heard.progress, heard.data = [], [], []

    async def _strangers(self) -> list[str]:
        """Processes that are neither the zygote nor a child that is known."""
        for _ in range(100):
            known = {child.pid for child in self._pen.zygote.children} | {self._zygote_pid}
            left = {
                pid: name
                for pid, name in processes_of(os.getpid(), known).items()
                if pid not in known
            }
            if not left:
                return []
            await asyncio.sleep(0.01)
        return [f"processes are left: {left}"]


def judged(expected: Expected, outcome: Outcome) -> list[str]:
    """What is wrong with an outcome."""
    said = f"{outcome.verdict.value}: {outcome.message}"
    match expected:
        case Ended(verdicts):
            return [] if outcome.verdict in verdicts else [f"ended as {said}"]
        case Gave(value):
            if outcome.verdict is not Verdict.RETURNED:
                return [f"ended as {said}"]
            is_right = value is ... or json.loads(outcome.value) == value
            return [] if is_right else [f"gave {outcome.value[:200]!r}"]
        case Refused(words):
            if outcome.verdict is not Verdict.RETURNED:
                return [f"ended as {said}\n{outcome.stack}"]
            steps = json.loads(outcome.value)
            return [f"{step}: {word}" for step, word in steps.items() if word not in words]
    return []


async def run(level: Level, grant: str, names: list[str]) -> None:
    """All cases of a level that claim something there."""
    tree.become_supervisor()
    chosen = [one for one in GRANTS.get(grant, CASES) if one.expected[level] is not None]
    chosen = [one for one in chosen if not names or one.id in names or one.name in names]
    with tempfile.TemporaryDirectory(prefix="arena-") as folder:
        async with AsyncExitStack() as stack:
            canaries = await stack.enter_async_context(Canaries(Path(folder), MARKER))
            while chosen:
                chosen = await _run_some(level, grant, canaries, chosen)


async def _run_some(level: Level, grant: str, canaries: Canaries, cases: list[Case]) -> list[Case]:
    """Run cases in one zygote until one of them is stuck; the cases that are left."""
    allow = replace(ALLOWED[grant], tmp_size_bytes=16 * MIB)
    changes = {
        "level": level,
        "waive": WAIVED,
        "allow": allow,
        "working_directory": canaries.farm,
        **LIMITS,
    }
    async with pen(ATTACKS, **changes) as made:
        arena = Arena(level, canaries, made)
        for number, case in enumerate(cases):
            try:
                async with asyncio.timeout(CASE_S):
                    record = await arena.run(case)
            except Exception as error:  # noqa: BLE001 - one case must not hide the others
                words = f"{type(error).__name__}: {error}"
                print(json.dumps({"case": case.id, "level": level.value, "problems": [words]}))
                return cases[number + 1 :]
            print(json.dumps(record), flush=True)
    return []


if __name__ == "__main__":
    if sys.argv[1] != "none":
        wanted, _, granted = sys.argv[1].partition("+")
        uvloop.run(run(Level(wanted), granted, sys.argv[2:]))
