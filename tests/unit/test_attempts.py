"""What holds for one attempt at rare moments, with the other side of the wall left out."""

from __future__ import annotations

import asyncio

import pytest

from toril.errors import Cancelled
from toril.sandbox import child, coroutine, watch
from toril.sandbox.frames import FrameType
from toril.sandbox.limits import Limits


class InterruptedLate:
    """A wire on which an interrupt comes just when an exception of the processor is caught."""

    def __init__(self):
        self.is_running = False
        self.interrupts = 1

    def start(self):
        self.running = True

    @property
    def running(self):
        return self.is_running

    @running.setter
    def running(self, is_running):
        if not is_running and self.interrupts:
            self.interrupts -= 1
            raise Cancelled("cancelled")
        self.is_running = is_running


def test_interrupt_while_an_exception_is_caught_is_an_outcome():
    made = object.__new__(child._Child)
    made._wire, made._builtin_names = InterruptedLate(), {}
    made._plan = type("Plan", (), {"limits": Limits()})

    end = made._run(lambda _: 1 / 0, None)

    assert end.type is FrameType.ERROR
    assert b"Cancelled" in end.payload
    assert not made._wire.running


def test_last_reason_is_what_comes_out_of_a_coroutine():
    class Wire:
        interrupt_task = None

    wire = Wire()

    async def job():
        wire.interrupt_task("soft-timeout")
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(1)
        wire.interrupt_task("cancelled")
        await asyncio.sleep(1)

    with pytest.raises(Cancelled):
        coroutine.run(job(), wire)


async def test_too_much_memory_is_told_once(monkeypatch):
    class Meter:
        def growth_and_threads(self):
            return 10**9, 1

    class Guarded:
        def __init__(self):
            self.told = []

        def kill_for(self, fault):
            self.told.append(fault.words)

    monkeypatch.setattr(watch, "POLL_S", 0.01)
    guarded = Guarded()
    guard = watch.Watch(asyncio.get_running_loop(), Limits(memory_bytes=2**20), guarded)
    guard.guard(Meter())
    guard.begin(object())
    await asyncio.sleep(0.1)
    guard.close()

    assert guarded.told == ["over the memory limit: grew by 954 MiB (limit 1 MiB), killed"]
