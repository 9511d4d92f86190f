"""Listeners in their own child: whatever they do, events go on, and what is lost is counted."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.process.harness import fds_after, open_fds
from toril import events as ev
from toril.call import Outcome, Verdict
from toril.errors import ProcessorImportError
from toril.listeners import MAX_VALUE_BYTES
from toril.runtime.claim import Claim
from toril.runtime.retry import Complete
from toril.runtime.settling import Ending
from toril.sandbox.levels import Level
from toril.supervisor import backlog, listeners
from toril.supervisor.listeners import Listeners
from toril.supervisor.settings import QueueSettings, Settings
from toril.supervisor.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

MODULE = "tests.process.processors.listening"


class Stage:
    """Listeners under test, and what the log says of them."""

    listeners: Listeners

    def __init__(self) -> None:
        self.events: list[ev.Event] = []
        self._changed = asyncio.Event()

    def emit(self, event: ev.Event) -> None:
        self.events.append(event)
        self._changed.set()

    def of(self, kind: type) -> list:
        return [event for event in self.events if type(event) is kind]

    @property
    def said(self) -> list[str]:
        return [event.line for event in self.of(ev.JobOutput)]

    @property
    def heard(self) -> list[str]:
        """Ids of the jobs of which `active` was heard."""
        return [line.split()[1] for line in self.said if line.startswith("Active")]

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def begin(self, *names: str) -> None:
        """One attempt began of each job; its id is its place."""
        for number, name in enumerate(names, 1):
            self.listeners.active(Claim(str(number), "t:1", name))


@asynccontextmanager
async def stage(attribute: str = "listeners", **changes):
    made = Stage()
    settings = QueueSettings(
        "cattle",
        "a:b",
        level=Level.PROCESS,
        listeners=f"{MODULE}:{attribute}",
        **({"listener_timeout_s": 30.0} | changes),
    )
    made.listeners = Listeners(settings, made.emit, lambda: None)
    await made.listeners.open()
    try:
        yield made
    finally:
        await made.listeners.close()


def ending(value: bytes) -> Ending:
    return Ending(Claim("1", "t:1", "n"), Complete(), Outcome(Verdict.RETURNED, value=value))


async def test_events_are_heard_in_order_in_one_child():
    async with stage() as on:
        on.begin(*["fine"] * 200)
        await on.until(lambda: len(on.heard) == 200)
        pids = {line.split()[2] for line in on.said}
    assert on.heard == [str(number) for number in range(1, 201)]
    assert len(pids) == 1
    assert str(os.getpid()) not in pids
    assert on.listeners.dropped == 0


async def test_async_listeners_are_awaited_beside_plain_ones():
    async with stage("mixed") as on:
        on.begin("fine", "fine")
        await on.until(lambda: len(on.heard) == 2)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raise", "ValueError: not this one"),
        ("leave", "left by SystemExit: 3"),
        ("die", "died of SIGKILL"),
        ("hang", "took more than 300 ms"),
    ],
)
async def test_a_listener_that_fails_is_told_and_costs_one_event(name, reason):
    async with stage(listener_timeout_s=0.3 if name == "hang" else 30.0) as on:
        on.begin("fine", name, "fine", "fine")
        await on.until(lambda: "4" in on.heard)
        await on.until(lambda: on.of(ev.ListenerFailed))
    assert on.heard == ["1", "2", "3", "4"]
    (told,) = on.of(ev.ListenerFailed)
    assert (told.listener, told.job_id, told.failures) == ("active", "2", 1)
    assert reason in told.reason


async def test_a_late_listener_that_goes_on_hears_nothing_twice():
    async with stage(listener_timeout_s=0.3) as on:
        on.begin("hang-on", "fine", "fine")
        await on.until(lambda: len(on.heard) == 3 and on.of(ev.ListenerFailed))
        assert "let go" in on.said
        on.begin("fine")
        await on.until(lambda: len(on.heard) == 4)
    assert on.heard == ["1", "2", "3", "1"]
    assert on.of(ev.ListenerFailed)[0].job_id == "1"


async def test_failures_in_a_row_are_told_once_and_counted():
    async with stage() as on:
        on.begin(*["raise"] * 5, "fine")
        await on.until(lambda: "6" in on.heard)
        assert len(on.of(ev.ListenerFailed)) == 1
        on.listeners._told_s.clear()
        on.begin("raise")
        await on.until(lambda: len(on.of(ev.ListenerFailed)) == 2)
    assert on.of(ev.ListenerFailed)[1].failures == 5


async def test_what_does_not_fit_is_dropped_and_counted_and_nobody_waits(monkeypatch):
    monkeypatch.setattr(backlog, "MAX_EVENTS", 10)
    monkeypatch.setattr(listeners, "DRAIN_S", 0.1)
    async with stage() as on:
        on.begin("hang")
        await on.until(lambda: on.heard)
        began_s = time.monotonic()
        on.begin(*["fine"] * 1000)
        assert time.monotonic() - began_s < 2
        assert on.listeners.dropped == 990
        assert len(on.of(ev.ListenerEventsDropped)) == 1
    assert on.listeners.dropped == 1001
    assert on.of(ev.ListenerEventsDropped)[-1].dropped == 1001


async def test_what_waits_is_handed_over_at_the_end():
    async with stage() as on:
        on.begin(*["fine"] * 200)
    assert len(on.heard) == 200
    assert on.listeners.dropped == 0


async def test_a_hurried_end_gives_up_what_waits():
    async with stage() as on:
        on.begin("hang")
        await on.until(lambda: on.heard)
        on.begin("fine")
        on.listeners.hurry()
    assert on.listeners.dropped == 2


async def test_what_nobody_listens_to_is_not_kept():
    async with stage("mixed") as on:
        on.listeners.settled(ending(b"1"))
        assert len(on.listeners._backlog) == 0


async def test_a_returned_value_cannot_break_out_of_its_event():
    hostile = '[\n"]}","event",\n{"event": "active", "job_id": "7"}\n, "\\u0000\\" \\ud83d\\udc02"]'
    async with stage() as on:
        on.listeners.settled(ending(hostile.encode()))
        on.listeners.settled(ending(b'"' + b"x" * MAX_VALUE_BYTES + b'"'))
        await on.until(lambda: len(on.said) == 2)
    assert on.said[0].startswith("[']}', 'event', {'event': 'active'")
    assert on.said[1] == "None True 0"
    assert on.heard == []


async def test_a_value_that_the_child_cannot_read_costs_one_event():
    async with stage() as on:
        on.listeners.settled(ending(b"[" * 20_000 + b"]" * 20_000))
        on.begin("fine")
        await on.until(lambda: on.heard)
    assert "RecursionError" in on.of(ev.ListenerFailed)[0].reason


async def test_a_dead_zygote_is_replaced_and_events_wait_for_it():
    async with stage() as on:
        os.kill(on.listeners.zygote_pid, signal.SIGKILL)
        await on.until(lambda: on.of(ev.ListenersPaused))
        on.begin("fine")
        await on.until(lambda: on.heard)
    assert on.of(ev.ListenersResumed)


async def test_every_event_is_a_value_of_its_class():
    async with stage("every") as on:
        on.listeners.active(Claim("1", "t:1", "n"))
        on.listeners.progress(Claim("1", "t:1", "n"), b'{"done": 1}')
        on.listeners.settled(ending(b"null"))
        on.listeners.overhear(ev.StalledRecovered("cattle", ("1",)))
        on.listeners.overhear(ev.RedisLost("cattle", "gone"))
        await on.until(lambda: len(on.said) == 5)
    kinds = [line.partition("(")[0] for line in on.said]
    assert kinds == ["Active", "Progress", "Completed", "Stalled", "WorkerError"]


async def test_nothing_is_left_open_after_them():
    async with stage() as on:
        on.begin("fine")
    before = open_fds()
    async with stage() as on:
        on.begin("fine", "raise", "die", "fine")
    assert await fds_after(before) == before


async def test_a_worker_counts_in_its_health_what_was_dropped(monkeypatch):
    monkeypatch.setattr(backlog, "MAX_EVENTS", 1)
    queue = QueueSettings("cattle", "a:b", level=Level.PROCESS, listeners=f"{MODULE}:every")
    worker = Worker(queue, Settings("redis://localhost", (queue,)), lambda _: None)
    worker._on_lost(Claim("1", "t:1", "n"))
    worker._on_lost(Claim("2", "t:2", "n"))
    assert worker.health(0.0).dropped_events == 1
    silent = replace(queue, listeners=None)
    worker = Worker(silent, Settings("redis://localhost", (silent,)), lambda _: None)
    worker._on_lost(Claim("1", "t:1", "n"))
    assert worker.health(0.0).dropped_events == 0


async def test_listeners_that_cannot_be_are_refused_at_the_start():
    with pytest.raises(ProcessorImportError, match="did you mean 'listeners'"):
        async with stage("listener"):
            pass
