"""Programs: what is forgotten is loaded and only that repeated, what is cut off is sent again."""

from __future__ import annotations

import pytest
from redis.exceptions import NoScriptError

from toril.errors import RedisRefused, RedisUnavailable
from toril.runtime.command import Command
from toril.runtime.dialog import RETRY_PAUSES_S, Pause, Send, call, call_all, resumed
from toril.runtime.scripts import script

COUNTS = Command("counts", ("b:q:",), ("",), lambda reply: ("counts", reply))
STATE = Command("state", ("b:q:",), ("", "7"), lambda reply: ("state", reply))


def result_of(program, answer):
    """What a program ends with, of which this is the last answer."""
    with pytest.raises(StopIteration) as over:
        resumed(program, answer)
    return over.value.value


def test_a_command_is_one_evalsha_and_its_reply_is_parsed():
    program = call(COUNTS)
    sent = resumed(program, None)
    assert sent == Send((("EVALSHA", script("counts").sha, 1, "b:q:", ""),))
    assert result_of(program, [[1]]) == ("counts", [1])


def test_only_calls_of_forgotten_scripts_are_repeated_after_loading():
    program = call_all([COUNTS, STATE, COUNTS])
    resumed(program, None)
    again = resumed(program, [[1], NoScriptError("x"), [3]])
    assert isinstance(again, Send)
    assert [packet[:2] for packet in again.packets] == [
        ("SCRIPT", "LOAD"),
        ("EVALSHA", script("state").sha),
    ]
    result = result_of(program, [b"sha", [2]])
    assert result == [("counts", [1]), ("state", [2]), ("counts", [3])]


def test_an_error_takes_only_its_own_place():
    program = call_all([COUNTS, STATE])
    resumed(program, None)
    error = RedisRefused("no")
    assert result_of(program, [error, [2]]) == [error, ("state", [2])]


def test_a_server_that_forgets_again_is_unavailable():
    program = call(COUNTS)
    resumed(program, None)
    resumed(program, [NoScriptError("x")])
    with pytest.raises(RedisUnavailable, match="forgets"):
        resumed(program, [b"sha", NoScriptError("x")])


def test_a_cut_exchange_is_sent_again_after_pauses_until_the_last():
    program = call(COUNTS)
    first = resumed(program, None)
    for pause_s in RETRY_PAUSES_S:
        assert resumed(program, RedisUnavailable("cut")) == Pause(pause_s)
        assert resumed(program, []) == first
    with pytest.raises(RedisUnavailable, match="cut for good"):
        resumed(program, RedisUnavailable("cut for good"))


def test_what_would_come_again_is_not_sent_again():
    program = call(COUNTS)
    resumed(program, None)
    with pytest.raises(RedisRefused, match="login"):
        resumed(program, RedisRefused("login"))
