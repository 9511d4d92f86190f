"""One zygote with its children under test: a listener that keeps what it hears, events to await."""

# ruff: noqa: A002, ARG002, PTH115, PTH123, PTH208 - the listener's signature, and names in /proc

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toril.call import Call, Outcome
from toril.sandbox.allow import Allow
from toril.sandbox.launcher import Zygote, ZygoteSpec
from toril.sandbox.levels import Level
from toril.sandbox.limits import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from toril.sandbox.handle import Child
    from toril.sandbox.listener import ChildExit
    from toril.sandbox.record import Record
    from toril.sandbox.reply import Reply

ROOT = Path(__file__).parents[2]
GOOD = "tests.process.processors.good:processors"
HOSTILE = "tests.process.processors.hostile:processors"


@dataclass
class Heard:
    """What was heard of one child."""

    log: list[tuple[str, str]] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    progress: list[Any] = field(default_factory=list)
    data: list[Any] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    exits: list[ChildExit] = field(default_factory=list)
    checkpoints: list[Any] = field(default_factory=list)
    stacks: list[str] = field(default_factory=list)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    idles: int = 0
    begun: list[str] = field(default_factory=list)
    recalled: list[str] = field(default_factory=list)
    said_by: list[tuple[str, str]] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

    def lines(self, stream: str) -> list[str]:
        return [line for name, line in self.log if name == stream]


class Pen:
    """Listener and remote control of one zygote."""

    zygote: Zygote

    def __init__(self) -> None:
        self.heard: dict[Child, Heard] = defaultdict(Heard)
        self.zygote_ends: list[str] = []
        self.zygote_log: list[tuple[str, str]] = []
        self.answer: Callable[[Child, Reply], None] = lambda _child, reply: reply.give("12")
        self._changed = asyncio.Event()

    def on_idle(self, child):
        self.heard[child].idles += 1
        self._note(child, "idle")

    def on_progress(self, child, call, value):
        self.heard[child].progress.append(json.loads(value))
        self._note(child, "progress")

    def on_log(self, child, call, stream, lines):
        if child is None:
            self.zygote_log += [(stream, line) for line in lines]
            self._changed.set()
            return
        self.heard[child].log += [(stream, line) for line in lines]
        self.heard[child].said_by += [(call.job_id if call else "", line) for line in lines]
        self._note(child, "log")

    def on_checkpoint(self, child, call, value):
        self.heard[child].checkpoints.append(json.loads(value))
        self._note(child, "checkpoint")

    def on_record(self, child, call, record):
        self.heard[child].records.append(record)
        self._note(child, "record")

    def on_update_data(self, child, call, value):
        self.heard[child].data.append(json.loads(value))
        self._note(child, "data")

    def on_stack(self, child, call, text):
        self.heard[child].stacks.append(text)
        self._note(child, "stack")

    def on_call(self, child, call, method, payload, reply):
        self.heard[child].calls.append((method, json.loads(payload)))
        self.answer(child, reply)
        self._note(child, "call")

    def on_outcome(self, child, call, outcome):
        self.heard[child].outcomes.append(outcome)
        self._note(child, "outcome")

    def on_next(self, child, call):
        self.heard[child].begun.append(call.job_id)
        self._note(child, "next")

    def on_recalled(self, child, calls):
        self.heard[child].recalled += [call.job_id for call in calls]
        self._note(child, "recalled")

    def on_gone(self, child, exit):
        self.heard[child].exits.append(exit)
        self._note(child, "gone")

    def on_zygote_gone(self, zygote, reason):
        self.zygote_ends.append(reason)
        self._changed.set()

    def _note(self, child, what):
        self.heard[child].order.append(what)
        self._changed.set()

    async def until(self, condition) -> None:
        """Wait until a condition holds; it is looked at whenever something was heard."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def child(self, slot: int = 1) -> Child:
        child = self.zygote.fork(slot)
        await self.until(lambda: self.heard[child].idles or self.heard[child].exits)
        return child

    async def run(self, name: str, data: Any = None, *, child: Child | None = None) -> Outcome:
        """Run one job to its outcome, in a new child unless one is given."""
        child = child or await self.child()
        return await self.finish(self.begin(child, name, data))

    def begin(self, child: Child, name: str, data: Any = None) -> Child:
        child.run(call_of(name, data))
        return child

    async def begin_and_hear(self, name: str, data: Any = None) -> Child:
        """Start a job in a new child and wait for its first log entry."""
        child = self.begin(await self.child(), name, data)
        await self.until(lambda: self.heard[child].lines("log"))
        return child

    async def deep_in_work(self, child: Child) -> None:
        """Wait until a spinning job has used some CPU time."""
        while child.process.meter.cpu_now_ms() < 30:  # noqa: ASYNC110 - a clock has no event
            await asyncio.sleep(0.005)

    async def finish(self, child: Child) -> Outcome:
        heard = self.heard[child]
        await self.until(lambda: len(heard.outcomes) == child.jobs_run)
        return heard.outcomes[-1]

    async def gone(self, child: Child) -> ChildExit:
        await self.until(lambda: self.heard[child].exits)
        return self.heard[child].exits[0]

    async def idle(self, child: Child) -> None:
        await self.until(lambda: self.heard[child].order[-1] == "idle")


def call_of(
    name: str, data: Any = None, *, raw: bytes | None = None, job_id: str = "7", **header: Any
) -> Call:
    fields = {
        "id": job_id,
        "name": name,
        "queue": "cattle",
        "attempts_made": 0,
        "attempts_started": 1,
        "timestamp": 1_700_000_000_000,
        "priority": 0,
        "opts": {},
    }
    text = json.dumps(data).encode() if raw is None else raw
    return Call(job_id, name, json.dumps(fields | header).encode(), text)


def spec_of(processor: str, *, folder: Path | None = None, **changes: Any) -> ZygoteSpec:
    names = {"env_names", "threads", "nice", "level", "working_directory", "import_in", "preload_s"}
    names |= {"backoff", "allow", "waive", "child_uid", "preload", "hidden"}
    limits = {name: value for name, value in changes.items() if name not in names}
    return ZygoteSpec(
        queue="cattle",
        processor=processor,
        level=changes.get("level", Level.PROCESS),
        limits=Limits(**({"timeout_s": 30.0} | limits)),
        python_path=[str(folder or ROOT), *sys.path],
        working_directory=str(changes.get("working_directory", ROOT)),
        allow=changes.get("allow", Allow(env=changes.get("env_names", ()))),
        waive=changes.get("waive", ()),
        threads=changes.get("threads", 1),
        nice=changes.get("nice", 5),
        import_in=changes.get("import_in", "zygote"),
        preload_s=changes.get("preload_s", 60.0),
        backoff=changes.get("backoff", ""),
        child_uid=changes.get("child_uid"),
        preload=changes.get("preload", ()),
        hidden=changes.get("hidden", ()),
    )


@asynccontextmanager
async def pen(processor: str = GOOD, **changes: Any) -> AsyncIterator[Pen]:
    """A started zygote; stopped at the end, and checked to have kept the rules of the listener."""
    made = Pen()
    made.zygote = await Zygote.start(spec_of(processor, **changes), made)
    try:
        yield made
    finally:
        await made.zygote.stop()
    for child, heard in made.heard.items():
        assert len(heard.outcomes) == child.jobs_run, "one outcome for every call"
        assert len(heard.exits) == 1, "every child is gone once"
        assert heard.order[-1] == "gone", "nothing is heard of a child that is gone"
    assert not made.zygote.children


def open_fds() -> set[str]:
    """The open fds of this process, by number and target."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            continue
    return found


async def fds_after(expected: set[str]) -> set[str]:
    """The open fds once they are as expected, or after 1,000 turns: a loop closes a turn later."""
    for _ in range(1000):
        if open_fds() == expected:
            break
        await asyncio.sleep(0)
    return open_fds()


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
