"""A timer that is set again and again, by a clock that does not run by itself."""

from __future__ import annotations

import pytest

from toril.sandbox.alarm import Alarm


class Timer:
    def __init__(self, due_s, action):
        self.due_s, self.action, self.is_cancelled = due_s, action, False

    def cancel(self):
        self.is_cancelled = True


class Loop:
    """As much of a loop as an alarm knows."""

    def __init__(self):
        self.now_s = 0.0
        self.timers: list[Timer] = []

    def time(self):
        return self.now_s

    def call_later(self, delay_s, action):
        self.timers.append(Timer(self.now_s + delay_s, action))
        return self.timers[-1]

    def advance(self, to_s):
        while due := [one for one in self.timers if one.due_s <= to_s and not one.is_cancelled]:
            first = min(due, key=lambda one: one.due_s)
            self.timers.remove(first)
            self.now_s = first.due_s
            first.action()
        self.now_s = to_s


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def rung():
    return []


def ring(loop, rung, word):
    return lambda: rung.append((loop.now_s, word))


def test_it_rings_once_at_its_time(loop, rung):
    Alarm(loop).set(1.0, ring(loop, rung, "a"))
    loop.advance(5.0)

    assert rung == [(1.0, "a")]


def test_set_again_it_forgets_what_was_before(loop, rung):
    alarm = Alarm(loop)
    alarm.set(1.0, ring(loop, rung, "a"))
    alarm.set(3.0, ring(loop, rung, "later"))
    loop.advance(2.0)
    assert rung == []
    alarm.set(0.25, ring(loop, rung, "sooner"))
    loop.advance(9.0)

    assert rung == [(2.25, "sooner")]


def test_put_off_again_and_again_it_takes_one_timer(loop, rung):
    """What begins and ends with every call must not cost a timer each time."""
    alarm = Alarm(loop)
    for _ in range(1000):
        alarm.set(0.25, ring(loop, rung, "busy"))
        alarm.set(1.0, ring(loop, rung, "idle"))

    assert len(loop.timers) == 1
    loop.advance(5.0)
    assert rung == [(1.0, "idle")]


def test_cleared_it_is_silent(loop, rung):
    alarm = Alarm(loop)
    alarm.set(1.0, ring(loop, rung, "a"))
    alarm.clear()
    loop.advance(5.0)

    assert rung == []
    alarm.set(1.0, ring(loop, rung, "b"))
    loop.advance(9.0)
    assert rung == [(6.0, "b")]
